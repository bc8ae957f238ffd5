"""Versions of flows, and where their tags point (S8.2, S8.3).

Versions of one flow are counted, and its tags moved, under one lock: the row of its first version, which
each of these transactions writes before it looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kitaru.core.deployment import DEFAULT_TAG
from kitaru.core.ports import DeploymentKey
from kitaru.core.rows import DeploymentRow, TagRow
from kitaru.store.database import Database, Writer
from kitaru.store.rows import Values

# The port has a method called `list`, which hides the type inside the class.
_Rows = list[DeploymentRow]
_Tags = list[TagRow]
_Ids = list[str]

# The next version of a flow. No row where another process has just taken the number.
CREATE_DEPLOYMENT = """
INSERT INTO deployments (
    project, flow, version, created_at, stack, entrypoint, snapshot, dirty, input_schema, default_inputs, retries,
    cache, commit_hash, image
) SELECT
    :project, :flow, COALESCE(MAX(version), 0) + 1, :created_at, :stack, :entrypoint, :snapshot, :dirty,
    :input_schema, :default_inputs, :retries, :cache, :commit, :image
FROM deployments WHERE project = :project AND flow = :flow
ON CONFLICT (project, flow, version) DO NOTHING RETURNING version
"""

# The columns of a DeploymentRow, without tags.
_DEPLOYMENT = """
SELECT project, flow, version, created_at, stack, entrypoint, snapshot, dirty, input_schema, default_inputs, retries,
    cache, commit_hash, image
FROM deployments
"""

# One version.
GET_DEPLOYMENT = f"""{_DEPLOYMENT}
WHERE project = :project AND flow = :flow AND version = :version AND deleted_at IS NULL
"""

# Versions behind a place in the list: by flow and project, the newest version first.
LIST_DEPLOYMENTS = f"""{_DEPLOYMENT}
WHERE deleted_at IS NULL AND (
    flow > :after_flow OR (flow = :after_flow AND project > :after_project)
    OR (flow = :after_flow AND project = :after_project AND version < :after_version)
)
ORDER BY flow, project, version DESC LIMIT :limit
"""

# The same for one flow of one project.
LIST_VERSIONS = f"""{_DEPLOYMENT}
WHERE project = :project AND flow = :flow AND version < :after_version AND deleted_at IS NULL
ORDER BY version DESC LIMIT :limit
"""

# Every flow that has a version.
DEPLOYED_FLOWS = "SELECT DISTINCT project, flow FROM deployments WHERE deleted_at IS NULL ORDER BY flow, project"

# Takes the lock of a flow. The first version's row stays, deleted or not.
LOCK_FLOW = "UPDATE deployments SET version = version WHERE project = :project AND flow = :flow AND version = 1"

# All tags of a flow.
TAGS_OF_FLOW = """
SELECT tag, version, exclusive FROM deployment_tags WHERE project = :project AND flow = :flow ORDER BY tag, version
"""

# A tag leaves every version of a flow.
CLEAR_TAG = "DELETE FROM deployment_tags WHERE project = :project AND flow = :flow AND tag = :tag"

# A tag leaves one version.
REMOVE_TAG = CLEAR_TAG + " AND version = :version"

# A tag is set. It may be there already.
SET_TAG = """
INSERT INTO deployment_tags (project, flow, tag, version, exclusive, moved_at)
VALUES (:project, :flow, :tag, :version, :exclusive, kitaru_now())
ON CONFLICT (project, flow, tag, version) DO NOTHING
"""

# Executions that stay on a version and are not finished, oldest first. Flows of one name in two projects share
# a store rarely; the project is compared too.
UNFINISHED_OF_VERSION = """
SELECT execution_id FROM executions
WHERE flow = :flow AND deployment_version = :version AND project = :project
    AND deployment_version IS NOT NULL AND status IN ('pending', 'running', 'waiting')
ORDER BY created_at, execution_id LIMIT :limit
"""

# A version is deleted, unless an exclusive tag or an unfinished execution needs it.
DELETE_DEPLOYMENT = """
UPDATE deployments SET deleted_at = kitaru_now()
WHERE project = :project AND flow = :flow AND version = :version AND deleted_at IS NULL
    AND NOT EXISTS (
        SELECT 1 FROM deployment_tags AS tagged
        WHERE tagged.project = :project AND tagged.flow = :flow AND tagged.version = :version AND tagged.exclusive = 1
    )
    AND NOT EXISTS (
        SELECT 1 FROM executions
        WHERE executions.flow = :flow AND executions.deployment_version = :version
            AND executions.project = :project AND executions.deployment_version IS NOT NULL
            AND executions.status IN ('pending', 'running', 'waiting')
    )
"""

# The shared tags of a version that is deleted.
REMOVE_TAGS = "DELETE FROM deployment_tags WHERE project = :project AND flow = :flow AND version = :version"


class SqlDeployments:
    """The ``Deployments`` port in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, row: DeploymentRow, *, tag: str | None, exclusive: bool) -> int:
        values = row._asdict() | {"dirty": int(row.dirty), "cache": int(row.cache)}
        del values["tags"], values["version"]
        while True:
            with self._database.write() as writer:
                created = writer.fetch(CREATE_DEPLOYMENT, values)
                if not created:
                    continue  # another process was faster: count again
                key = {"project": row.project, "flow": row.flow, "version": created[0][0]}
                writer.execute(LOCK_FLOW, {"project": row.project, "flow": row.flow})
                if key["version"] == 1:
                    writer.execute(SET_TAG, key | {"tag": DEFAULT_TAG, "exclusive": 1})
                if tag is not None:
                    self._set(writer, key, tag, exclusive)
                return created[0][0]

    def get(self, key: DeploymentKey) -> DeploymentRow | None:
        found = self._rows(self._database.read(GET_DEPLOYMENT, key._asdict()))
        return found[0] if found else None

    def list(self, *, project: str | None, flow: str | None, limit: int, after: DeploymentKey | None) -> _Rows:
        if flow is not None:
            values: dict[str, object] = {"project": project, "flow": flow, "limit": limit}
            values["after_version"] = _NEWEST if after is None else after.version
            return self._rows(self._database.read(LIST_VERSIONS, values))
        place = after or DeploymentKey("", "", 0)
        values = {"after_project": place.project, "after_flow": place.flow, "after_version": place.version}
        return self._rows(self._database.read(LIST_DEPLOYMENTS, values | {"limit": limit}))

    def flows(self) -> Sequence[tuple[str, str]]:
        return [(project, flow) for project, flow in self._database.read(DEPLOYED_FLOWS, {})]

    def tags(self, project: str, flow: str) -> _Tags:
        found = self._database.read(TAGS_OF_FLOW, {"project": project, "flow": flow})
        return [TagRow(tag, version, bool(exclusive)) for tag, version, exclusive in found]

    def tag(self, key: DeploymentKey, tag: str, *, exclusive: bool) -> bool:
        with self._database.write() as writer:
            writer.execute(LOCK_FLOW, {"project": key.project, "flow": key.flow})
            if not writer.fetch(GET_DEPLOYMENT, key._asdict()):
                return False
            self._set(writer, key._asdict(), tag, exclusive)
        return True

    def untag(self, key: DeploymentKey, tag: str) -> bool:
        with self._database.write() as writer:
            writer.execute(LOCK_FLOW, {"project": key.project, "flow": key.flow})
            return writer.execute(REMOVE_TAG, key._asdict() | {"tag": tag}) == 1

    def unfinished(self, key: DeploymentKey, *, limit: int) -> _Ids:
        found = self._database.read(UNFINISHED_OF_VERSION, key._asdict() | {"limit": limit})
        return [execution_id for (execution_id,) in found]

    def delete(self, key: DeploymentKey) -> bool:
        with self._database.write() as writer:
            writer.execute(LOCK_FLOW, {"project": key.project, "flow": key.flow})
            if writer.execute(DELETE_DEPLOYMENT, key._asdict()) != 1:
                return False
            writer.execute(REMOVE_TAGS, key._asdict())
        return True

    def _set(self, writer: Writer, key: Mapping[str, object], tag: str, exclusive: bool) -> None:
        """Under the flow's lock: a tag that is exclusive once stays so, and leaves the version that it was at."""
        present = writer.fetch(TAGS_OF_FLOW, key)
        exclusive = exclusive or any(name == tag and is_exclusive for name, _, is_exclusive in present)
        if exclusive:
            writer.execute(CLEAR_TAG, {**key, "tag": tag})
        writer.execute(SET_TAG, {**key, "tag": tag, "exclusive": int(exclusive)})

    def _rows(self, found: Sequence[Values]) -> _Rows:
        tags: dict[tuple[str, str], _Tags] = {}
        rows: _Rows = []
        for values in found:
            project, flow, version, created_at, stack, entrypoint, snapshot, dirty, schema, defaults, *rest = values
            retries, cache, commit, image = rest
            if (project, flow) not in tags:
                tags[project, flow] = self.tags(project, flow)
            names = tuple(one.tag for one in tags[project, flow] if one.version == version)
            rows.append(
                DeploymentRow(
                    project, flow, version, created_at, stack, entrypoint, snapshot, bool(dirty), schema, defaults,
                    retries, bool(cache), commit, image, names,
                )
            )  # fmt: skip
        return rows


_NEWEST = 2**31 - 1
"""Above every version."""
