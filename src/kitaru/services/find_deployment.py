"""Find a version of a flow by the flow's name, and a version or a tag (S8.3)."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from kitaru.core.deployment import DEFAULT_TAG, check_tag
from kitaru.core.ports import DeploymentKey
from kitaru.core.rows import DeploymentRow
from kitaru.errors import KitaruNotFoundError, KitaruUsageError
from kitaru.services.wiring import Wiring

_LISTED = 20


def find_flow(wiring: Wiring, flow: str) -> tuple[str, str]:
    """The project and name of a deployed flow: this project's own, else the only one of that name.

    Raises:
        KitaruNotFoundError: There is none, or several projects have one.
    """
    flows = wiring.store.deployments.flows()
    own = (wiring.settings.project, flow)
    if own in flows:
        return own
    found = [one for one in flows if one[1] == flow]
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(project for project, _ in found)
        raise KitaruNotFoundError(
            f"flow {flow!r} is deployed from several projects: {places}. Say which: set KITARU_PROJECT to one of them."
        )
    hint = _near(flow, {name for _, name in flows}, "flows")
    raise KitaruNotFoundError(
        f"flow {flow!r} is not deployed in {wiring.settings.store_name}; {hint} Deploy it first: my_flow.deploy(...)."
    )


def find_deployment(wiring: Wiring, flow: str, *, version: int | None, tag: str | None) -> DeploymentRow:
    """The version that is meant: by its number, by a tag, or, where neither is given, by ``default``.

    A shared tag means the newest version that has it.

    Raises:
        KitaruNotFoundError: There is no such flow, version or tag; the nearest are named.
        KitaruUsageError: Both are given, or one is of a wrong type.
    """
    if version is not None and tag is not None:
        raise KitaruUsageError(f"flow {flow}: version={version!r} and tag={tag!r}: give one of them.")
    project, name = find_flow(wiring, flow)
    if version is None:
        return _tagged(wiring, project, name, DEFAULT_TAG if tag is None else check_tag(tag))
    if isinstance(version, bool) or not isinstance(version, int):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise KitaruUsageError(f"flow {flow}: version={version!r}: a whole number is expected.")
    return get_version(wiring, DeploymentKey(project, name, version))


def get_version(wiring: Wiring, key: DeploymentKey) -> DeploymentRow:
    """A version by its number. Raises ``KitaruNotFoundError`` that lists those that there are."""
    row = wiring.store.deployments.get(key)
    if row is None:
        rows = wiring.store.deployments.list(project=key.project, flow=key.flow, limit=_LISTED, after=None)
        listed = ", ".join(str(one.version) for one in rows)
        raise KitaruNotFoundError(f"flow {key.flow!r} has no version {key.version}; its versions are {listed}.")
    return row


def _tagged(wiring: Wiring, project: str, flow: str, tag: str) -> DeploymentRow:
    tags = wiring.store.deployments.tags(project, flow)
    versions = [one.version for one in tags if one.tag == tag]
    if not versions:
        hint = _near(tag, {one.tag for one in tags}, "tags")
        raise KitaruNotFoundError(f"flow {flow!r} has no version with tag {tag!r}; {hint}")
    return get_version(wiring, DeploymentKey(project, flow, max(versions)))


def _near(word: str, known: Iterable[str], what: str) -> str:
    near = get_close_matches(word, known, 3)
    if near:
        return f"did you mean {' or '.join(repr(one) for one in near)}?"
    listed = ", ".join(sorted(known)[:_LISTED])
    return f"the {what} are {listed}." if listed else f"there are no {what} yet."
