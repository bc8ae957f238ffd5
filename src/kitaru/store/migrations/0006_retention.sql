-- Executions of which blob_references says every blob that they name. It holds as long as their epoch does; the
-- time tells an execution from an earlier one of its id.
CREATE TABLE blob_scans (
    execution_id  TEXT PRIMARY KEY,
    created_at    BIGINT NOT NULL,
    epoch         BIGINT NOT NULL
);
