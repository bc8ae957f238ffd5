-- What deployments need beside their tables.

ALTER TABLE executions ADD COLUMN snapshot TEXT;    -- blob digest of the code that it runs from; null: the source at hand
ALTER TABLE deployments ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deployments ADD COLUMN cache SMALLINT NOT NULL DEFAULT 1;
-- A deleted version keeps its row: its number is not given again.
ALTER TABLE deployments ADD COLUMN deleted_at BIGINT;

-- Small: which executions a version has.
CREATE INDEX executions_by_deployment ON executions (flow, deployment_version) WHERE deployment_version IS NOT NULL;
-- Small: what is to run from a snapshot, or does.
CREATE INDEX executions_frozen ON executions (created_at, execution_id)
    WHERE snapshot IS NOT NULL AND status IN ('pending', 'running');
