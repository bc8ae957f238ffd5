"""Options, layer over layer (S1.8).

For each option the first layer that gives it counts: the ``run`` argument, the decorator,
``kitaru.configure``, the environment (``KITARU_STACK``, ``KITARU_RETRIES``, ``KITARU_CACHE``,
``KITARU_IMAGE``), ``[tool.kitaru]`` in the nearest ``pyproject.toml``, and for ``stack`` the active
stack. ``image`` is merged through all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kitaru.core.image import Image, ImageSettings
from kitaru.core.limit import check_priority, parse_limits
from kitaru.core.references import importing
from kitaru.core.retry import check_retries
from kitaru.core.stack import LOCAL
from kitaru.core.tags import check_tags
from kitaru.engine.context import current
from kitaru.engine.definitions import FlowDefinition
from kitaru.errors import KitaruUsageError
from kitaru.services import wiring as process
from kitaru.services.options import given_outside, merged_image
from kitaru.services.settings import positive
from kitaru.services.start import StartOptions


def configure(
    *,
    stack: str | None = None,
    retries: int | None = None,
    cache: bool | None = None,
    image: Image | None = None,
    home: str | Path | None = None,
    store: str | None = None,
    artifacts: str | None = None,
    allow_pickle: bool | None = None,
    max_threads: int | None = None,
    max_flows: int | None = None,
    limits: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    """Set options for this process; what is left out stays as it is.

    Args:
        stack: Where flows run that do not say so themselves.
        retries: How often a flow's body may run again.
        cache: Whether checkpoints reuse results of earlier executions.
        image: Environment of executions; merged by field.
        home: Folder of the embedded store and its artifacts, instead of ``KITARU_HOME``.
        store: URL of the store, instead of ``KITARU_STORE``: ``sqlite:///path``.
        artifacts: Path or URL (``s3://``, ``gs://``, ``az://``) of the store for large values.
        allow_pickle: Whether values may be pickled (S4.2).
        max_threads: Most threads for submitted calls.
        max_flows: Most top-level flows that run at once in this process.
        limits: Named limits, ``{"openai": {"at_once": 5, "per_minute": 60}}``, for all processes of the store.
            They are added to those of ``[tool.kitaru.limits]``; what ``KitaruClient().limits.set`` says counts more.

    Raises:
        KitaruUsageError: A value is wrong, or a setting of the store comes too late, because this
            process has used its store already. In a module that a worker loads for one of its flows, such
            settings say nothing: the worker's hold there.
    """
    owner = "kitaru.configure()"
    if retries is not None:
        check_retries(retries, owner)
    check_cache(cache, owner)
    given: dict[str, Any] = {
        "stack": stack,
        "retries": retries,
        "cache": cache,
        "image": None if image is None else ImageSettings.parse(image, owner),
        "limits": None if limits is None else parse_limits(limits, owner),
    }
    of_store: dict[str, Any] = {
        "home": None if home is None else str(home),
        "store": store,
        "artifacts": artifacts,
        "allow_pickle": allow_pickle,
        "max_threads": None if max_threads is None else positive(max_threads, "max_threads"),
        "max_flows": None if max_flows is None else positive(max_flows, "max_flows"),
    }
    late = [name for name, value in of_store.items() if value is not None] if process.in_use() else []
    if late and importing():
        of_store = {}  # a module that was loaded for one of its flows: the process that runs it has a store already
    elif late:
        raise KitaruUsageError(
            f"kitaru.configure({late[0]}=...) comes too late: this process has opened its store already. "
            "Call it before the first .run() or KitaruClient()."
        )
    process.configure({name: value for name, value in {**given, **of_store}.items() if value is not None})


def resolve_options(
    definition: FlowDefinition,
    *,
    stack: str | None,
    retries: int | None,
    cache: bool | None,
    image: Image | None,
    execution_id: str | None,
    tags: Iterable[str],
    priority: int | None = None,
) -> StartOptions:
    """The options of one run.

    Raises:
        KitaruUsageError: A layer holds a wrong value; the layer is named.
    """
    owner = f"{definition.name}.run()"
    if retries is not None:
        check_retries(retries, owner)
    check_cache(cache, owner)
    of_run = None if image is None else ImageSettings.parse(image, owner)
    # A child flow stays with its parent, unless it says otherwise itself (S1.10).
    scope = current.get()
    of_parent = None if scope is None else scope.run.row.stack
    chosen = _first((stack, definition.stack, of_parent, *_outside("stack")))
    return StartOptions(
        stack=chosen if chosen is not None else process.wiring().store.stacks.active() or LOCAL,
        retries=_first((retries, definition.retries, *_outside("retries"))) or 0,
        cache=_first((cache, definition.cache, *_outside("cache"))) is not False,
        image=merged_image([of_run, definition.image, *_outside("image")]),
        execution_id=execution_id,
        tags=check_tags(tags, owner),
        priority=None if priority is None else check_priority(priority, owner),
    )


def check_cache(cache: object, where: str) -> None:
    """Refuse what only looks like a choice: ``cache="no"`` would be taken for True."""
    if cache is not None and not isinstance(cache, bool):
        raise KitaruUsageError(f"{where}: cache={cache!r}: True or False is expected.")


def _first(layers: Iterable[Any]) -> Any:
    return next((value for value in layers if value is not None), None)


def _outside(option: str) -> list[Any]:
    return [layer.value for layer in given_outside(option)]
