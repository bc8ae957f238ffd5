-- The reference of the Python type that the schema of a wait was made of; null: it has none that others can find.
ALTER TABLE waits ADD COLUMN answer_type TEXT;
