-- Nothing has used these tables of the first draft, so they are made anew.
DROP TABLE slots;
DROP TABLE limits;

-- Named upper bounds.
CREATE TABLE limits (
    name        TEXT PRIMARY KEY,
    at_once     INTEGER,            -- null: any number
    per_minute  INTEGER,            -- null: any number
    declared    SMALLINT NOT NULL   -- 1: by a process's configuration, which may replace it; 0: set by hand
);

-- A call's place under a limit, held or waited for. It counts while its execution runs under that epoch by a
-- living runner, and for nothing after: nobody has to tidy up after a dead one.
CREATE TABLE slots (
    limit_name    TEXT NOT NULL,
    execution_id  TEXT NOT NULL,
    call_id       TEXT NOT NULL,
    epoch         BIGINT NOT NULL,
    priority      INTEGER NOT NULL,
    asked_at      BIGINT NOT NULL,
    turn          INTEGER NOT NULL, -- orders those who asked together
    taken_at      BIGINT,           -- null: it waits
    PRIMARY KEY (limit_name, execution_id, call_id)
);
CREATE INDEX slots_held ON slots (limit_name, taken_at) WHERE taken_at IS NOT NULL;
CREATE INDEX slots_line ON slots (limit_name, priority DESC, asked_at, turn) WHERE taken_at IS NULL;
CREATE INDEX slots_by_execution ON slots (execution_id);

-- When places under a limit with per_minute were taken, for a minute.
CREATE TABLE limit_uses (
    limit_name  TEXT NOT NULL,
    used_at     BIGINT NOT NULL
);
CREATE INDEX limit_uses_by_time ON limit_uses (limit_name, used_at);
