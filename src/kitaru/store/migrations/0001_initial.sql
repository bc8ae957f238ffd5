-- The first schema of a Kitaru store.
--
-- Times are BIGINT microseconds since 1970 (UTC), so that they compare alike in every database.
-- Truth values are SMALLINT 0 or 1. Encoded values (inputs, outputs, results, answers) are text that
-- kitaru.values wrote; larger parts of them are references to blobs. A failure is four columns: the
-- exception's type, its message, where it was raised, and a JSON detail with traceback and exception.
-- Wide columns come last in their table, so that reading the narrow ones stays on one page.
-- What PostgreSQL writes differently: INTEGER PRIMARY KEY AUTOINCREMENT, and BLOB.

-- The projects that share this store.
CREATE TABLE projects (
    name        TEXT PRIMARY KEY,
    created_at  BIGINT NOT NULL
);

-- One row for each execution of a flow.
CREATE TABLE executions (
    execution_id        TEXT PRIMARY KEY,
    project             TEXT NOT NULL,
    flow                TEXT NOT NULL,
    flow_ref            TEXT NOT NULL,
    status              TEXT NOT NULL,
    stack               TEXT NOT NULL,
    epoch               BIGINT NOT NULL,    -- grows with each claim; a write under an older one is refused
    runner_id           TEXT,               -- running: the owner; pending: whom it was recorded for
    attempt             INTEGER NOT NULL,   -- runs of the flow's body, from 1
    retries             INTEGER NOT NULL,
    cache               SMALLINT NOT NULL,
    parent_id           TEXT,
    parent_call_id      TEXT,
    original_id         TEXT,               -- a replay: the execution it was made from
    created_at          BIGINT NOT NULL,
    started_at          BIGINT,
    ended_at            BIGINT,
    due_at              BIGINT,             -- waiting: when it goes on without an answer
    priority            INTEGER NOT NULL DEFAULT 0,
    deployment_version  INTEGER,            -- with flow: the version it stays on for its whole life (S8.4)
    input_digest        TEXT NOT NULL,
    request_digest      TEXT,               -- of the request that made it: an equal request is answered again
    code_digest         TEXT,
    failure_type        TEXT,
    failure_message     TEXT,
    failure_origin      TEXT,
    failure_detail      TEXT,
    image               TEXT,               -- merged image settings, JSON
    replay              TEXT,               -- a replay: its plan (from, overrides, reuse), JSON
    result              TEXT,
    inputs              TEXT NOT NULL
);

-- Lists are newest first, by these two columns; each filter that narrows much has its own index.
CREATE INDEX executions_by_time ON executions (created_at, execution_id);
CREATE INDEX executions_by_flow ON executions (flow, created_at, execution_id);
CREATE INDEX executions_by_status ON executions (status, created_at, execution_id);
CREATE INDEX executions_by_stack ON executions (stack, created_at, execution_id);
CREATE INDEX executions_by_parent ON executions (parent_id, created_at, execution_id) WHERE parent_id IS NOT NULL;
CREATE INDEX executions_by_original ON executions (original_id, created_at, execution_id) WHERE original_id IS NOT NULL;
-- Small: only what is parked at a timer.
CREATE INDEX executions_due ON executions (due_at) WHERE status = 'waiting' AND due_at IS NOT NULL;
-- What a runner has to begin with. Small: executions are pending for a moment.
CREATE INDEX executions_pending ON executions (runner_id, created_at, execution_id) WHERE status = 'pending';

-- Labels that a caller gave an execution, in the order given.
CREATE TABLE execution_tags (
    execution_id  TEXT NOT NULL,
    tag           TEXT NOT NULL,
    position      INTEGER NOT NULL,
    PRIMARY KEY (execution_id, tag)
);
CREATE INDEX execution_tags_by_tag ON execution_tags (tag, execution_id);

-- The calls of an execution: the memo that a resumed body finds its results in.
-- No foreign key and only two indexes: a row is written for every checkpoint, this is the hot path.
CREATE TABLE calls (
    execution_id         TEXT NOT NULL,
    call_id              TEXT NOT NULL,
    name                 TEXT NOT NULL,
    kind                 TEXT NOT NULL,
    position             INTEGER NOT NULL,   -- place in the order in which the body made its calls
    input_digest         TEXT NOT NULL,
    occurrence           INTEGER NOT NULL,   -- counts equal calls of the execution (S3.1)
    status               TEXT NOT NULL,
    attempt              INTEGER NOT NULL,   -- number of the last attempt; failed ones are in attempts
    started_at           BIGINT NOT NULL,
    ended_at             BIGINT,
    handled              SMALLINT NOT NULL,  -- 1: the body saw this failure, so it is raised again (S3.2)
    label                TEXT,               -- the checkpoint's type=
    code_digest          TEXT,
    cache_key            TEXT,               -- null: no later execution may reuse it
    source_execution_id  TEXT,               -- reused from there
    source_call_id       TEXT,
    child_id             TEXT,               -- a child flow: its execution
    due_at               BIGINT,             -- under way: when its timer or its next attempt is due
    failure_type         TEXT,
    failure_message      TEXT,
    failure_origin       TEXT,
    failure_detail       TEXT,
    inputs               TEXT NOT NULL,
    output               TEXT,
    PRIMARY KEY (execution_id, call_id)
);
-- The cross-run cache (S3.5).
CREATE INDEX calls_by_cache_key ON calls (cache_key, ended_at) WHERE status = 'completed' AND cache_key IS NOT NULL;

-- Attempts that did not succeed. A success is told by the call's own row. call_id '' is the flow's body.
CREATE TABLE attempts (
    execution_id     TEXT NOT NULL,
    call_id          TEXT NOT NULL,
    number           INTEGER NOT NULL,
    status           TEXT NOT NULL,
    started_at       BIGINT NOT NULL,
    ended_at         BIGINT NOT NULL,
    failure_type     TEXT,
    failure_message  TEXT,
    failure_origin   TEXT,
    failure_detail   TEXT,
    PRIMARY KEY (execution_id, call_id, number)
);

-- Questions that an execution is, or was, parked at (S5).
CREATE TABLE waits (
    execution_id   TEXT NOT NULL,
    wait_id        TEXT NOT NULL,       -- the id of its call
    name           TEXT NOT NULL,
    status         TEXT NOT NULL,       -- open, answered, aborted, expired, closed
    opened_at      BIGINT NOT NULL,
    expires_at     BIGINT,              -- then default_answer is taken
    answered_at    BIGINT,
    answered_by    TEXT,                -- who
    answered_via   TEXT,                -- through what: terminal, cli, http, mcp, slack ...
    question       TEXT,
    answer_schema  TEXT,                -- JSON schema; null: a continue/abort gate
    metadata       TEXT,
    default_answer TEXT,
    answer         TEXT,
    PRIMARY KEY (execution_id, wait_id)
);
CREATE INDEX waits_open ON waits (opened_at) WHERE status = 'open';

-- Values saved by name (kitaru.save). call_id '' where the flow's body saved it.
CREATE TABLE artifacts (
    execution_id  TEXT NOT NULL,
    name          TEXT NOT NULL,
    call_id       TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    value         TEXT NOT NULL,
    PRIMARY KEY (execution_id, name)
);

-- What kitaru.log kept. Rows and not a JSON column, so that both databases filter and sum them alike.
CREATE TABLE metadata (
    execution_id  TEXT NOT NULL,
    call_id       TEXT NOT NULL,
    key           TEXT NOT NULL,
    number        DOUBLE PRECISION,     -- repeats a numeric value, to be summed
    value         TEXT NOT NULL,
    PRIMARY KEY (execution_id, call_id, key)
);

-- Inputs in which a resumed call differs from a record that was left over (S3.3). The latest report only.
CREATE TABLE drift (
    execution_id      TEXT NOT NULL,
    position          INTEGER NOT NULL,
    call_id           TEXT NOT NULL,
    recorded_call_id  TEXT NOT NULL,
    input             TEXT NOT NULL,
    recorded          TEXT,
    given             TEXT,
    PRIMARY KEY (execution_id, position)
);

-- What happened, for people and programs that follow along. event_id is the cursor they go on from.
CREATE TABLE events (
    event_id      INTEGER PRIMARY KEY AUTOINCREMENT,
    execution_id  TEXT NOT NULL,
    call_id       TEXT NOT NULL,        -- '' for the execution itself
    at            BIGINT NOT NULL,
    kind          TEXT NOT NULL,
    detail        TEXT NOT NULL         -- what belongs to the kind, JSON
);
CREATE INDEX events_by_execution ON events (execution_id, event_id);

-- Lines that user code printed or logged. log_id is a cursor too; call_id '' is the flow's body.
CREATE TABLE logs (
    log_id        INTEGER PRIMARY KEY AUTOINCREMENT,
    execution_id  TEXT NOT NULL,
    call_id       TEXT NOT NULL,
    attempt       INTEGER NOT NULL,
    at            BIGINT NOT NULL,
    level         TEXT NOT NULL,        -- stdout, stderr or a level of the logging module
    logger        TEXT,
    message       TEXT NOT NULL
);
CREATE INDEX logs_by_execution ON logs (execution_id, log_id);

-- Immutable versions of flows (S8.2).
CREATE TABLE deployments (
    project        TEXT NOT NULL,
    flow           TEXT NOT NULL,
    version        INTEGER NOT NULL,    -- 1, 2, 3 ... for each flow
    created_at     BIGINT NOT NULL,
    stack          TEXT NOT NULL,
    entrypoint     TEXT NOT NULL,
    snapshot       TEXT NOT NULL,       -- blob digest of the source tree
    commit_hash    TEXT,
    dirty          SMALLINT NOT NULL,   -- 1: the tree had changes that commit_hash does not have
    image          TEXT,
    input_schema   TEXT,
    default_inputs TEXT,
    PRIMARY KEY (project, flow, version)
);

-- Where a tag points now (S8.3).
CREATE TABLE deployment_tags (
    project    TEXT NOT NULL,
    flow       TEXT NOT NULL,
    tag        TEXT NOT NULL,
    version    INTEGER NOT NULL,
    exclusive  SMALLINT NOT NULL,
    moved_at   BIGINT NOT NULL,
    PRIMARY KEY (project, flow, tag, version),
    FOREIGN KEY (project, flow, version) REFERENCES deployments (project, flow, version)
);
CREATE UNIQUE INDEX deployment_tags_exclusive ON deployment_tags (project, flow, tag) WHERE exclusive = 1;

-- Named places where executions run, beside local (S8.1).
CREATE TABLE stacks (
    name            TEXT PRIMARY KEY,
    kind            TEXT NOT NULL,
    artifact_store  TEXT,
    created_at      BIGINT NOT NULL,
    options         TEXT NOT NULL       -- JSON, as the kind defines it
);

-- Single values of the store: active_stack.
CREATE TABLE settings (
    key    TEXT PRIMARY KEY,
    value  TEXT NOT NULL
);

-- Processes that run executions. A runner whose lease_until has passed owns nothing any more (S6.2).
CREATE TABLE runners (
    runner_id    TEXT PRIMARY KEY,
    stack        TEXT NOT NULL,
    host         TEXT NOT NULL,
    pid          BIGINT NOT NULL,
    lease_until  BIGINT NOT NULL
);

-- Named upper bounds on what runs at the same time, and who holds a place under them.
CREATE TABLE limits (
    name      TEXT PRIMARY KEY,
    capacity  INTEGER NOT NULL
);
CREATE TABLE slots (
    limit_name    TEXT NOT NULL REFERENCES limits (name),
    execution_id  TEXT NOT NULL,
    call_id       TEXT NOT NULL,
    epoch         BIGINT NOT NULL,      -- of the execution when it took the place; an older one holds nothing
    taken_at      BIGINT NOT NULL,
    PRIMARY KEY (limit_name, execution_id, call_id)
);

-- Secrets, encrypted before they get here.
CREATE TABLE secrets (
    project     TEXT NOT NULL,
    name        TEXT NOT NULL,
    changed_at  BIGINT NOT NULL,
    ciphertext  BLOB NOT NULL,
    PRIMARY KEY (project, name)
);

-- Which execution refers to which blob, so that cleaning removes only what nobody refers to.
CREATE TABLE blob_references (
    digest        TEXT NOT NULL,
    execution_id  TEXT NOT NULL,
    PRIMARY KEY (digest, execution_id)
);
CREATE INDEX blob_references_by_execution ON blob_references (execution_id);
