"""Tag versions of flows (S8.3), and delete versions."""

from __future__ import annotations

from kitaru.core.deployment import DEFAULT_TAG, check_tag
from kitaru.core.ports import DeploymentKey
from kitaru.core.rows import DeploymentRow
from kitaru.errors import KitaruNotFoundError, KitaruStateError, KitaruUsageError
from kitaru.services.find_deployment import find_flow, get_version
from kitaru.services.wiring import Wiring

_LISTED = 3


def tag(wiring: Wiring, flow: str, version: int, name: str, *, exclusive: bool | None) -> DeploymentRow:
    """Set a tag at a version; an exclusive one leaves the version that it was at, in the same transaction.

    Args:
        wiring: The process.
        flow: The flow's name.
        version: Its version.
        name: The tag.
        exclusive: Whether it is at one version only. None: as it is, and shared where it is new. ``default``
            always is.

    Raises:
        KitaruNotFoundError: There is no such flow or version.
        KitaruUsageError: The tag is no word, or an exclusive one is to be shared.
    """
    check_tag(name)
    key = DeploymentKey(*find_flow(wiring, flow), version)
    if exclusive is False and is_exclusive(wiring, key, name):
        raise KitaruUsageError(
            f"tag {name!r} of flow {flow!r} is exclusive and stays so. "
            + ("It is always at one version." if name == DEFAULT_TAG else "Remove it first, or use another tag.")
        )
    if not wiring.store.deployments.tag(key, name, exclusive=exclusive is True or name == DEFAULT_TAG):
        get_version(wiring, key)  # says that it is not there
    return get_version(wiring, key)


def is_exclusive(wiring: Wiring, key: DeploymentKey, name: str) -> bool:
    """True where a tag is at one version only."""
    tags = wiring.store.deployments.tags(key.project, key.flow)
    return name == DEFAULT_TAG or any(one.exclusive for one in tags if one.tag == name)


def untag(wiring: Wiring, flow: str, version: int, name: str) -> DeploymentRow:
    """Remove a tag from a version.

    Raises:
        KitaruNotFoundError: There is no such flow or version, or the tag is not there.
        KitaruUsageError: It is ``default``, which can be moved only.
    """
    if check_tag(name) == DEFAULT_TAG:
        raise KitaruUsageError(
            f"tag {DEFAULT_TAG!r} of flow {flow!r} cannot be removed: what is invoked without a version would be lost. "
            "Move it: set it at another version."
        )
    key = DeploymentKey(*find_flow(wiring, flow), version)
    row = get_version(wiring, key)
    if not wiring.store.deployments.untag(key, name):
        raise KitaruNotFoundError(
            f"version {version} of flow {flow!r} has no tag {name!r}; it has {', '.join(row.tags) or 'none'}."
        )
    return get_version(wiring, key)


def delete_deployment(wiring: Wiring, flow: str, version: int) -> None:
    """Delete a version that nobody needs. Its number is not given again.

    Raises:
        KitaruNotFoundError: There is no such flow or version.
        KitaruStateError: An exclusive tag points to it, or an execution stays on it that is not finished.
    """
    key = DeploymentKey(*find_flow(wiring, flow), version)
    get_version(wiring, key)
    if wiring.store.deployments.delete(key):
        return
    get_version(wiring, key)
    what = f"version {version} of flow {flow!r}"
    tags = wiring.store.deployments.tags(key.project, key.flow)
    held = [one.tag for one in tags if one.version == version and one.exclusive]
    if held:
        listed = ", ".join(repr(one) for one in held)
        raise KitaruStateError(f"{what} is what tag {listed} points to. Move the tag to another version first.")
    needed = wiring.store.deployments.unfinished(key, limit=_LISTED + 1)
    listed = ", ".join(needed[:_LISTED]) + (", ..." if len(needed) > _LISTED else "")
    raise KitaruStateError(
        f"{what} is needed by executions that are not finished: {listed}. Wait for their end, or cancel them."
    )
