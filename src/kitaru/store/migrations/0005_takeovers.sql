-- An execution that ends every process it runs in is not to be taken over for ever.

-- How often in a row it was taken over from a dead process although nothing had been recorded in between.
ALTER TABLE executions ADD COLUMN takeovers INTEGER NOT NULL DEFAULT 0;
-- How many of its calls had ended at the last takeover.
ALTER TABLE executions ADD COLUMN recorded INTEGER;
