"""Inputs that came as JSON, as the types that the flow's signature names.

A deployed flow is invoked from where its types are not known: by another project, a command line, over HTTP.
Its own process has them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

_JSON = (dict, list, str, int, float)
_AS_THEY_ARE: tuple[Any, ...] = (inspect.Parameter.empty, Any, object, str, int, bool, dict, list, None)


def typed(fn: Callable[..., object], arguments: Mapping[str, object]) -> dict[str, object]:
    """The arguments, those that are plain JSON turned into what their parameters are annotated with.

    What cannot be turned stays as it is: whether it fits was judged when it was recorded.
    """
    try:
        types = inspect.get_annotations(fn, eval_str=True)
    except Exception:  # noqa: BLE001  # annotations are user code; one that cannot be read tells nothing
        return dict(arguments)
    kinds = {name: parameter.kind for name, parameter in inspect.signature(fn).parameters.items()}
    collecting = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name: _turned(value, types.get(name, Any)) if kinds.get(name) not in collecting else value
        for name, value in arguments.items()
    }


def _turned(value: object, type_: Any) -> object:
    if type(value) not in _JSON or type_ in _AS_THEY_ARE:
        return value
    import pydantic  # noqa: PLC0415  # 70 ms to import, and plain inputs do without it

    try:
        return pydantic.TypeAdapter[Any](type_).validate_python(value)
    except (pydantic.ValidationError, pydantic.PydanticUserError):
        return value
