-- What every process asks again and again must not grow with the executions that stand still: without these
-- SQLite goes through all executions of a stack.

-- Timers of a project's stack, in the order in which they are due.
DROP INDEX executions_due;
CREATE INDEX executions_due ON executions (project, stack, due_at) WHERE status = 'waiting' AND due_at IS NOT NULL;

-- What somebody owns or should own. Small: what runs, and what is about to.
CREATE INDEX executions_live ON executions (project, stack, created_at, execution_id)
    WHERE status IN ('running', 'pending');

-- What is nobody's yet, in the order in which runners take it.
CREATE INDEX executions_unowned ON executions (project, stack, priority DESC, created_at, execution_id)
    WHERE status = 'pending' AND runner_id IS NULL;
