"""Every statement that the store runs, with named parameters: one text for SQLite and PostgreSQL.

``kitaru_now()`` is the database's clock in microseconds (S6.2). Nothing here may use a function that
only one of the databases has. Conditions on ``status`` are literals where a partial index needs them.
"""

# ruff: noqa: S608  # only column lists and placeholders of this file are put into statements, never a value

from __future__ import annotations

import re

_PARAMETER = re.compile(r":(\w+)")


def positional(text: str) -> str:
    """The statement with ``?`` for each named parameter, for rows that are given as tuples.

    Rows are written by the thousand; binding a tuple takes half the time of binding a mapping. The
    tuple's order is that of the names in the text (``kitaru.store.rows`` makes it, a test compares).
    """
    return _PARAMETER.sub("?", text)


def parameters(text: str) -> tuple[str, ...]:
    """The names of the parameters, in the order of the text."""
    return tuple(_PARAMETER.findall(text))


_FAILURE = "failure_type, failure_message, failure_origin, failure_detail"
_FAILURE_VALUES = ":failure_type, :failure_message, :failure_origin, :failure_detail"

# ── executions ───────────────────────────────────────────────────────────────────────────────────

# A new execution, unless its id is taken.
CREATE_EXECUTION = f"""
INSERT INTO executions (
    execution_id, project, flow, flow_ref, status, stack, inputs, input_digest, created_at, epoch, runner_id,
    parent_id, parent_call_id, original_id, retries, cache, image, code_digest, attempt, started_at, ended_at,
    result, replay, deployment_version, snapshot, priority, {_FAILURE}
) VALUES (
    :execution_id, :project, :flow, :flow_ref, :status, :stack, :inputs, :input_digest, :created_at, :epoch,
    :runner_id, :parent_id, :parent_call_id, :original_id, :retries, :cache, :image, :code_digest, :attempt,
    :started_at, :ended_at, :result, :replay, :deployment_version, :snapshot, :priority, {_FAILURE_VALUES}
) ON CONFLICT (execution_id) DO NOTHING
"""

# One tag of a new execution; the same tag given twice counts once.
TAG_EXECUTION = """
INSERT INTO execution_tags (execution_id, tag, position) VALUES (:execution_id, :tag, :position)
ON CONFLICT (execution_id, tag) DO NOTHING
"""

# What a commit is compared with: read once per execution and transaction.
EXECUTION_STATE = "SELECT status, epoch, runner_id FROM executions WHERE execution_id = :execution_id"

# A runner takes an execution over. The caller has compared status and epoch in this transaction.
CLAIM_EXECUTION = """
UPDATE executions SET
    status = 'running', epoch = epoch + 1, runner_id = :runner_id, attempt = :attempt,
    started_at = COALESCE(started_at, kitaru_now()), due_at = NULL, ended_at = NULL, result = NULL,
    failure_type = NULL, failure_message = NULL, failure_origin = NULL, failure_detail = NULL
WHERE execution_id = :execution_id
"""

# Another status, with all that belongs to it. The caller has compared the one before in this transaction.
MOVE_EXECUTION = """
UPDATE executions SET
    status = :status, runner_id = :runner_id, due_at = NULL, ended_at = :ended_at, result = :result,
    failure_type = :failure_type, failure_message = :failure_message,
    failure_origin = :failure_origin, failure_detail = :failure_detail
WHERE execution_id = :execution_id
"""

# The owner parks it. Its runner stays named: the one that goes on with it while it lives.
SUSPEND_EXECUTION = "UPDATE executions SET status = 'waiting', due_at = :due_at WHERE execution_id = :execution_id"

# True where a timer is due by now.
IS_DUE = "SELECT 1 FROM executions WHERE execution_id = :execution_id AND :due_at <= kitaru_now()"

# What an execution waits for has come: its runner goes on with it, or, where that is gone, whoever is first.
WAKE_EXECUTION = """
UPDATE executions SET status = 'pending', due_at = NULL, runner_id = :runner_id
WHERE execution_id = :execution_id AND status = 'waiting'
"""

# The end of a child may be what its parent waits for.
WAITING_PARENT = """
SELECT execution_id, runner_id FROM executions
WHERE status = 'waiting' AND execution_id = (SELECT parent_id FROM executions WHERE execution_id = :execution_id)
"""

# All descendants of an execution, with their statuses.
DESCENDANTS = """
WITH RECURSIVE descendants (execution_id, status) AS (
    SELECT execution_id, status FROM executions WHERE parent_id = :execution_id
    UNION
    SELECT child.execution_id, child.status
    FROM descendants JOIN executions AS child ON child.parent_id = descendants.execution_id
)
SELECT execution_id, status FROM descendants
"""

# The body of a flow runs again.
SET_ATTEMPT = "UPDATE executions SET attempt = :number WHERE execution_id = :execution_id"

# The columns of an ExecutionRow, without tags.
_EXECUTION = f"""
SELECT execution_id, project, flow, flow_ref, status, stack, inputs, input_digest, created_at, epoch, runner_id,
    parent_id, parent_call_id, original_id, retries, cache, image, code_digest, attempt, started_at, ended_at,
    result, replay, deployment_version, snapshot, priority, {_FAILURE}
FROM executions
"""

# One execution.
GET_EXECUTION = f"{_EXECUTION} WHERE execution_id = :execution_id"

# The status alone.
GET_STATUS = "SELECT status FROM executions WHERE execution_id = :execution_id"

# Executions, newest first; ``list_executions`` puts the conditions in.
_LIST_EXECUTIONS = f"{_EXECUTION} WHERE {{conditions}} ORDER BY created_at DESC, execution_id DESC LIMIT :limit"

_CONDITIONS = {
    "flow": "flow = :flow",
    "stack": "stack = :stack",
    "tag": "execution_id IN (SELECT execution_id FROM execution_tags WHERE tag = :tag)",
    "parent_id": "parent_id = :parent_id",
    "original_id": "original_id = :original_id",
    "project": "project = :project",
    "created_after": "created_at >= :created_after",
    "created_before": "created_at < :created_before",
    "after": "(created_at, execution_id) < (:after_created_at, :after)",
}


def list_executions(given: tuple[str, ...], statuses: int) -> str:
    """The list statement with the conditions of ``given``, and ``statuses`` many of ``:status_N``."""
    return _LIST_EXECUTIONS.format(conditions=conditions(given, statuses))


def conditions(given: tuple[str, ...], statuses: int) -> str:
    """What stands behind WHERE for a list of executions, as ``list_executions`` describes it."""
    texts = [_CONDITIONS[name] for name in given]
    if statuses:
        texts.append("status IN " + _placeholders("status", statuses))
    return " AND ".join(texts) or "1 = 1"


# Where a page ended.
GET_CREATED_AT = "SELECT created_at FROM executions WHERE execution_id = :execution_id"

# Ids in a range of text.
FIND_EXECUTIONS = """
SELECT execution_id FROM executions
WHERE execution_id >= :first AND execution_id < :behind ORDER BY execution_id LIMIT :limit
"""


def get_tags(count: int) -> str:
    """The tags of ``count`` many executions ``:id_N``, each one's in the order in which they were given."""
    return (
        f"SELECT execution_id, tag FROM execution_tags WHERE execution_id IN {_placeholders('id', count)} "
        "ORDER BY execution_id, position"
    )


def _placeholders(name: str, count: int) -> str:
    return "(" + ", ".join(f":{name}_{index}" for index in range(count)) + ")"


# True where a running or pending execution's runner is unknown or its lease has run out. Dead runners
# are removed from the table before this is asked. Pending without a runner is nobody's loss.
_ORPHAN = """
status IN ('running', 'pending')
AND NOT EXISTS (
    SELECT 1 FROM runners WHERE runners.runner_id = executions.runner_id AND lease_until > kitaru_now()
)
"""


def orphans(flows: int | None) -> str:
    """Executions without a living runner, oldest first; of so many flows, ``:flow_0`` and so on."""
    return f"""{_EXECUTION}
WHERE {_ORPHAN} AND project = :project AND stack = :stack {"" if flows is None else _of_flows(flows)}
ORDER BY created_at, execution_id LIMIT :limit
"""


def unowned(flows: int) -> str:
    """Pending executions that are nobody's, oldest first."""
    return f"""{_EXECUTION}
WHERE status = 'pending' AND runner_id IS NULL AND project = :project AND stack = :stack {_of_flows(flows)}
ORDER BY created_at, execution_id LIMIT :limit
"""


def take(apart_from: int) -> str:
    """Give a runner pending executions that are nobody's: one statement, so no two runners get the same."""
    return f"""
UPDATE executions SET runner_id = :runner_id
WHERE execution_id IN (
    SELECT execution_id FROM executions
    WHERE status = 'pending' AND runner_id IS NULL AND project = :project AND stack = :stack
    {_of_flows(apart_from, "NOT IN") if apart_from else ""}
    ORDER BY priority DESC, created_at, execution_id LIMIT :limit
)
RETURNING execution_id
"""


def _of_flows(count: int, how: str = "IN") -> str:
    return f"AND flow_ref {how} ({', '.join(f':flow_{index}' for index in range(count))})"


# A pending execution that a runner cannot run is nobody's again.
UNTAKE = """
UPDATE executions SET runner_id = NULL
WHERE execution_id = :execution_id AND runner_id = :runner_id AND status = 'pending'
"""

# What was pending for a runner that ends is nobody's again.
UNTAKE_ALL = "UPDATE executions SET runner_id = NULL WHERE runner_id = :runner_id AND status = 'pending'"

# True where a stack has a pending execution that is nobody's.
HAS_UNOWNED = """
SELECT 1 FROM executions
WHERE status = 'pending' AND runner_id IS NULL AND project = :project AND stack = :stack LIMIT 1
"""

# True where a stack has a living runner.
SERVES = "SELECT 1 FROM runners WHERE stack = :stack AND lease_until > kitaru_now() LIMIT 1"

# The same for one execution.
IS_ORPHAN = f"SELECT 1 FROM executions WHERE execution_id = :execution_id AND {_ORPHAN}"

# Waiting executions whose timer is due: of this runner, or of none that lives. Dead runners are removed from
# the table before this is asked.
DUE = f"""{_EXECUTION}
WHERE status = 'waiting' AND due_at <= kitaru_now() AND project = :project AND stack = :stack
AND (runner_id = :runner_id OR NOT EXISTS (
    SELECT 1 FROM runners WHERE runners.runner_id = executions.runner_id AND lease_until > kitaru_now()
))
ORDER BY due_at LIMIT :limit
"""

# What was recorded for a runner to begin with, oldest first.
PENDING_FOR_RUNNER = f"""{_EXECUTION}
WHERE runner_id = :runner_id AND status = 'pending' ORDER BY created_at, execution_id LIMIT :limit
"""

# Every row of an execution, the execution last.
DELETE_EXECUTION = tuple(
    f"DELETE FROM {table} WHERE execution_id = :execution_id"
    for table in (
        "execution_tags", "calls", "attempts", "waits", "artifacts", "metadata", "drift", "events", "logs",
        "blob_references", "slots", "executions",
    )
)  # fmt: skip

# ── calls ────────────────────────────────────────────────────────────────────────────────────────

_INSERT_CALL = f"""
INSERT INTO calls (
    execution_id, call_id, name, kind, position, input_digest, occurrence, inputs, status, attempt, started_at,
    ended_at, output, {_FAILURE}, handled, label, code_digest, cache_key, source_execution_id, source_call_id, child_id,
    due_at
) VALUES (
    :execution_id, :call_id, :name, :kind, :position, :input_digest, :occurrence, :inputs, :status, :attempt,
    :started_at, :ended_at, :output, {_FAILURE_VALUES}, :handled, :label, :code_digest, :cache_key,
    :source_execution_id, :source_call_id, :child_id, :due_at
)
"""

_REPLACE_CALL = """
ON CONFLICT (execution_id, call_id) DO UPDATE SET
    name = excluded.name, kind = excluded.kind, position = excluded.position,
    input_digest = excluded.input_digest, occurrence = excluded.occurrence, inputs = excluded.inputs,
    status = excluded.status, attempt = excluded.attempt, started_at = excluded.started_at,
    ended_at = excluded.ended_at, output = excluded.output, failure_type = excluded.failure_type,
    failure_message = excluded.failure_message, failure_origin = excluded.failure_origin,
    failure_detail = excluded.failure_detail, handled = excluded.handled, label = excluded.label,
    code_digest = excluded.code_digest, cache_key = excluded.cache_key,
    source_execution_id = excluded.source_execution_id, source_call_id = excluded.source_call_id,
    child_id = excluded.child_id, due_at = excluded.due_at
"""

# The outcome of a call. A success that is recorded already stays: then no row is changed.
RECORD_CALL = _INSERT_CALL + _REPLACE_CALL + "WHERE calls.status <> 'completed'"

# A call is under way. A success stays, and so does an outcome that a late hint would undo; a failure that
# is being run again does not.
START_CALL = (
    _INSERT_CALL + _REPLACE_CALL
    + "WHERE calls.status = 'running' OR (calls.status <> 'completed' AND excluded.attempt >= calls.attempt)"
)  # fmt: skip

# Whether the body has seen a failure.
SET_HANDLED = """
UPDATE calls SET handled = :handled WHERE execution_id = :execution_id AND call_id = :call_id
"""

# The memo: every call, those under way included, so that ids and attempt numbers go on from there. As the
# body made them: sorting ten thousand takes 1.5 ms.
MEMO = f"""
SELECT call_id, name, kind, input_digest, occurrence, status, attempt, handled, output, inputs, due_at, position,
    child_id, source_execution_id, {_FAILURE}
FROM calls WHERE execution_id = :execution_id ORDER BY position, call_id
"""

# A call of an execution becomes one of its replay: at no cost, and apart from the cross-run cache.
COPY_CALL = f"""
INSERT INTO calls (
    execution_id, call_id, name, kind, position, input_digest, occurrence, inputs, status, attempt, started_at,
    ended_at, output, {_FAILURE}, handled, label, code_digest, source_execution_id, source_call_id, child_id
) SELECT
    :execution_id, call_id, name, kind, position, input_digest, occurrence, inputs, status, 0, :at,
    :at, output, {_FAILURE}, handled, label, code_digest, execution_id, call_id, child_id
FROM calls
WHERE execution_id = :source_id AND call_id = :call_id
    AND (status = 'completed' OR (handled = 1 AND status IN ('failed', 'timed_out')))
"""

# The artifacts that the copied calls saved.
COPY_ARTIFACTS = """
INSERT INTO artifacts (execution_id, name, call_id, value, created_at)
SELECT :execution_id, name, call_id, value, created_at FROM artifacts
WHERE execution_id = :source_id AND EXISTS (
    SELECT 1 FROM calls WHERE calls.execution_id = :execution_id AND calls.call_id = artifacts.call_id
)
"""

# A reused call was made at another place than before.
MOVE_CALL = "UPDATE calls SET position = :position WHERE execution_id = :execution_id AND call_id = :call_id"

# A copied call leaves its id to another.
RENAME_COPY = """
UPDATE calls SET call_id = :other
WHERE execution_id = :execution_id AND call_id = :call_id AND source_execution_id IS NOT NULL
"""
# What a copied call had saved goes with it.
MOVE_ARTIFACTS = "UPDATE artifacts SET call_id = :other WHERE execution_id = :execution_id AND call_id = :call_id"

# A copied call that was not made.
REMOVE_COPY = """
DELETE FROM calls
WHERE execution_id = :execution_id AND call_id = :call_id AND source_execution_id IS NOT NULL
"""

# The artifacts of calls that are not there any more.
REMOVE_ARTIFACTS = """
DELETE FROM artifacts
WHERE execution_id = :execution_id AND call_id <> '' AND NOT EXISTS (
    SELECT 1 FROM calls WHERE calls.execution_id = :execution_id AND calls.call_id = artifacts.call_id
)
"""

# The newest success under a cache key in another execution.
CACHED = """
SELECT execution_id, call_id, output FROM calls
WHERE cache_key = :cache_key AND status = 'completed' AND execution_id <> :apart_from
ORDER BY ended_at DESC LIMIT 1
"""

# All calls, as the body made them.
CALLS = f"""
SELECT call_id, name, kind, position, input_digest, occurrence, inputs, status, attempt, started_at, ended_at,
    output, {_FAILURE}, handled, label, code_digest, cache_key, source_execution_id, source_call_id, child_id,
    due_at
FROM calls WHERE execution_id = :execution_id ORDER BY position, call_id
"""

# An ended attempt.
RECORD_ATTEMPT = f"""
INSERT INTO attempts (execution_id, call_id, number, status, started_at, ended_at, {_FAILURE})
VALUES (:execution_id, :call_id, :number, :status, :started_at, :ended_at, {_FAILURE_VALUES})
ON CONFLICT (execution_id, call_id, number) DO UPDATE SET
    status = excluded.status, started_at = excluded.started_at, ended_at = excluded.ended_at,
    failure_type = excluded.failure_type, failure_message = excluded.failure_message,
    failure_origin = excluded.failure_origin, failure_detail = excluded.failure_detail
"""

# The attempts of all calls.
ATTEMPTS = f"""
SELECT call_id, number, status, started_at, ended_at, {_FAILURE}
FROM attempts WHERE execution_id = :execution_id ORDER BY call_id, number
"""

# One item of metadata; a later value replaces an earlier one.
LOG_METADATA = """
INSERT INTO metadata (execution_id, call_id, key, value, number)
VALUES (:execution_id, :call_id, :key, :value, :number)
ON CONFLICT (execution_id, call_id, key) DO UPDATE SET value = excluded.value, number = excluded.number
"""

# The metadata of all calls.
METADATA = """
SELECT call_id, key, value, number FROM metadata WHERE execution_id = :execution_id ORDER BY call_id, key
"""

# The drift report goes, so that a new one can take its place.
CLEAR_DRIFT = "DELETE FROM drift WHERE execution_id = :execution_id"

# One line of the drift report.
RECORD_DRIFT = """
INSERT INTO drift (execution_id, position, call_id, recorded_call_id, input, recorded, given)
VALUES (:execution_id, :position, :call_id, :recorded_call_id, :input, :recorded, :given)
"""

# The drift report.
DRIFT = """
SELECT call_id, recorded_call_id, input, recorded, given
FROM drift WHERE execution_id = :execution_id ORDER BY position
"""

# ── artifacts ────────────────────────────────────────────────────────────────────────────────────

# A named value; a later one of the same name replaces it.
SAVE_ARTIFACT = """
INSERT INTO artifacts (execution_id, name, call_id, value, created_at)
VALUES (:execution_id, :name, :call_id, :value, :created_at)
ON CONFLICT (execution_id, name) DO UPDATE SET
    call_id = excluded.call_id, value = excluded.value, created_at = excluded.created_at
"""

# One artifact.
GET_ARTIFACT = """
SELECT name, call_id, value, created_at FROM artifacts WHERE execution_id = :execution_id AND name = :name
"""

# The artifacts of an execution.
ARTIFACTS = """
SELECT name, call_id, value, created_at FROM artifacts WHERE execution_id = :execution_id ORDER BY name
"""

# ── waits ────────────────────────────────────────────────────────────────────────────────────────

# A question, asked anew where it was asked before.
OPEN_WAIT = """
INSERT INTO waits (
    execution_id, wait_id, name, status, opened_at, question, answer_schema, metadata, expires_at, default_answer
) VALUES (
    :execution_id, :wait_id, :name, :status, :opened_at, :question, :answer_schema, :metadata, :expires_at,
    :default_answer
) ON CONFLICT (execution_id, wait_id) DO UPDATE SET
    status = excluded.status, opened_at = excluded.opened_at, expires_at = excluded.expires_at, answer = NULL,
    answered_at = NULL, answered_by = NULL, answered_via = NULL
"""

# The outcome of an open wait: the first one counts.
CLOSE_WAIT = """
UPDATE waits SET
    status = :status, answer = :answer, answered_at = :at, answered_by = :answered_by, answered_via = :answered_via
WHERE execution_id = :execution_id AND wait_id = :wait_id AND status = 'open'
"""

# The same in the wait's call.
CLOSE_WAIT_CALL = """
UPDATE calls SET
    status = :status, output = :answer, ended_at = :at, handled = :handled, failure_type = :failure_type,
    failure_message = :failure_message, failure_origin = :failure_origin, failure_detail = :failure_detail
WHERE execution_id = :execution_id AND call_id = :wait_id
"""

# Waits that are open when their execution ends stay unanswered.
CLOSE_WAITS = "UPDATE waits SET status = 'closed' WHERE execution_id = :execution_id AND status = 'open'"

# Whether a wait is open.
IS_OPEN = "SELECT 1 FROM waits WHERE execution_id = :execution_id AND wait_id = :wait_id AND status = 'open'"

_WAIT = """wait_id, name, waits.status, opened_at, question, answer_schema, waits.metadata, expires_at,
    default_answer, answer, answered_at, answered_by, answered_via"""

# The waits of an execution.
WAITS = f"SELECT {_WAIT} FROM waits WHERE execution_id = :execution_id ORDER BY opened_at, wait_id"

# Open waits of all executions.
OPEN_WAITS = f"""
SELECT waits.execution_id, {_WAIT} FROM waits
WHERE waits.status = 'open' AND opened_at >= :since ORDER BY opened_at LIMIT :limit
"""

# The same for one flow.
OPEN_WAITS_OF_FLOW = f"""
SELECT waits.execution_id, {_WAIT} FROM waits JOIN executions ON executions.execution_id = waits.execution_id
WHERE waits.status = 'open' AND opened_at >= :since AND executions.flow = :flow ORDER BY opened_at LIMIT :limit
"""

# ── events and logs ──────────────────────────────────────────────────────────────────────────────

# Something has happened; without a time it happened now.
ADD_EVENT = """
INSERT INTO events (execution_id, call_id, at, kind, detail)
VALUES (:execution_id, :call_id, COALESCE(:at, kitaru_now()), :kind, :detail)
"""

# Whether the start of an attempt is no news: it has been shown, or the call has gone further.
START_IS_KNOWN = """
SELECT 1 FROM calls WHERE execution_id = :execution_id AND call_id = :call_id
    AND (status = 'completed' OR attempt > :attempt OR (attempt = :attempt AND status = 'running'))
"""

# The events behind a cursor.
EVENTS_AFTER = """
SELECT event_id, call_id, at, kind, detail FROM events
WHERE execution_id = :execution_id AND event_id > :after ORDER BY event_id LIMIT :limit
"""

# A line of output.
ADD_LINE = """
INSERT INTO logs (execution_id, call_id, attempt, at, level, logger, message)
VALUES (:execution_id, :call_id, :attempt, :at, :level, :logger, :message)
"""

# The lines behind a cursor.
LOGS_AFTER = """
SELECT call_id, attempt, at, level, logger, message, log_id FROM logs
WHERE execution_id = :execution_id AND log_id > :after ORDER BY log_id LIMIT :limit
"""

# The same of one call.
LOGS_OF_CALL_AFTER = """
SELECT call_id, attempt, at, level, logger, message, log_id FROM logs
WHERE execution_id = :execution_id AND call_id = :call_id AND log_id > :after ORDER BY log_id LIMIT :limit
"""

# ── runners ──────────────────────────────────────────────────────────────────────────────────────

# A runner, with a lease from now on.
REGISTER_RUNNER = """
INSERT INTO runners (runner_id, stack, host, pid, lease_until)
VALUES (:runner_id, :stack, :host, :pid, kitaru_now() + :lease)
ON CONFLICT (runner_id) DO UPDATE SET
    stack = excluded.stack, host = excluded.host, pid = excluded.pid, lease_until = excluded.lease_until
"""

# Renew a lease that has not run out.
RENEW_LEASE = """
UPDATE runners SET lease_until = kitaru_now() + :lease
WHERE runner_id = :runner_id AND lease_until > kitaru_now()
"""

# Forget a runner.
REMOVE_RUNNER = "DELETE FROM runners WHERE runner_id = :runner_id"

# Forget runners whose lease has run out: it is never renewed. Keeps the table as small as it is in use.
REMOVE_EXPIRED = "DELETE FROM runners WHERE lease_until <= kitaru_now()"

# True where a runner's lease has not run out.
HAS_LEASE = "SELECT 1 FROM runners WHERE runner_id = :runner_id AND lease_until > kitaru_now()"

# All runners. The table has a row per process that runs executions; reading it whole is right.
RUNNERS = "SELECT runner_id, stack, host, pid, lease_until FROM runners ORDER BY runner_id"
