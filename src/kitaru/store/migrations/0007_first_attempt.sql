-- A flow's retries are counted from the attempt at which the present try began, whatever process goes on with it.
ALTER TABLE executions ADD COLUMN first_attempt INTEGER NOT NULL DEFAULT 1;
