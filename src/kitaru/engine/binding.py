"""Arguments by parameter name, as a call's inputs are recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from kitaru.errors import KitaruUsageError


class Binder:
    """Binds arguments to a function's parameters, defaults included.

    The usual call (no ``*args`` or ``**kwargs`` in the signature) is bound by hand, because
    ``Signature.bind`` alone takes longer than the rest of a reused call.
    """

    def __init__(self, function: Callable[..., Any], owner: str) -> None:
        self._owner = owner
        self._signature = inspect.signature(function)
        self._defaults: dict[str, object] = {}
        self._required = 0
        names: list[str] = []
        plain = True
        for parameter in self._signature.parameters.values():
            plain = plain and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
            names.append(parameter.name)
            if parameter.default is not inspect.Parameter.empty:
                self._defaults[parameter.name] = parameter.default
        self._names = tuple(names) if plain else None

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of the function, by name."""
        return self._signature.parameters

    def bind(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        """The arguments by parameter name.

        Raises:
            KitaruUsageError: They do not fit the signature.
        """
        names = self._names
        if names is not None and len(args) <= len(names):
            bound = dict(zip(names, args, strict=False))
            if not kwargs and len(bound) == len(names):
                return bound
            if self._fill(bound, names, kwargs):
                return bound
        return self._bind_slowly(args, kwargs)

    def _fill(self, bound: dict[str, object], names: tuple[str, ...], kwargs: Mapping[str, object]) -> bool:
        used = 0
        for name in names[len(bound) :]:
            if name in kwargs:
                bound[name] = kwargs[name]
                used += 1
            elif name in self._defaults:
                bound[name] = self._defaults[name]
            else:
                return False
        return used == len(kwargs)

    def _bind_slowly(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise KitaruUsageError(
                f"{self._owner}: {error}. Its signature is {self._owner}{self._signature}."
            ) from None
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        for parameter in self._signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                # Keyword order is no part of what a call is.
                extra: Mapping[str, object] = arguments[parameter.name]
                arguments[parameter.name] = {name: extra[name] for name in sorted(extra)}
        return arguments

    def unbind(self, arguments: Mapping[str, object]) -> tuple[tuple[object, ...], dict[str, object]]:
        """Positional and keyword arguments again, from what ``bind`` gave.

        A parameter that the function has gained since is left to its default.

        Raises:
            KitaruUsageError: The recorded arguments no longer fit the signature.
        """
        bound = inspect.BoundArguments(self._signature, {})  # pyright: ignore[reportArgumentType]  # filled below
        rest = dict(arguments)
        for name in self._signature.parameters:
            if name in rest:
                bound.arguments[name] = rest.pop(name)
        missing = [
            name
            for name, parameter in self._signature.parameters.items()
            if name not in arguments
            and parameter.default is inspect.Parameter.empty
            and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        ]
        if rest or missing:
            raise KitaruUsageError(
                f"{self._owner}{self._signature} no longer takes the recorded inputs: "
                + "; ".join(
                    text
                    for text in (
                        f"it has no {', '.join(rest)} any more" if rest else "",
                        f"{', '.join(missing)} has no recorded value" if missing else "",
                    )
                    if text
                )
                + ". Give new parameters a default and keep the old ones, or start a new execution."
            )
        return bound.args, bound.kwargs
