"""Kinds of arguments: executions, JSON, times and durations."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from kitaru.client.client import KitaruClient

LATEST = "latest"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class ExecutionId(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]  # generic since click 8.5
    """The id of an execution, any unique beginning of it, or ``latest``: the newest that is nobody's child."""

    name = "id"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002  # click's signature
        if value != LATEST:
            return value
        newest = next((one for one in _client().executions.list(limit=100) if one.parent_id is None), None)
        return (newest or _client().executions.latest()).exec_id

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002  # click's signature
        found = [one for one in _client().executions.list(limit=200) if one.exec_id.startswith(incomplete)]
        return [CompletionItem(one.exec_id, help=f"{one.flow} {one.status}") for one in found[:50]]


class StackName(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]  # generic since click 8.5
    """The name of a stack."""

    name = "stack"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002  # click's signature
        stacks = _client().stacks.list()
        return [CompletionItem(one.name, help=one.kind) for one in stacks if one.name.startswith(incomplete)]


def _client() -> KitaruClient:
    # Late: the client takes longer to import than a whole `--help`, and a completion of options needs none.
    from kitaru.client.client import KitaruClient  # noqa: PLC0415

    return KitaruClient()


class Target(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]  # generic since click 8.5
    """``file.py:flow`` or ``module:flow``; the shell completes the file."""

    name = "target"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002  # click's signature
        return [CompletionItem(incomplete, type="file")]


class SecretName(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]  # generic since click 8.5
    """The name of a secret."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002  # click's signature
        return [CompletionItem(one.name) for one in _client().secrets.list() if one.name.startswith(incomplete)]


class Number(click.IntRange):
    """A whole number; in help and errors it is called one."""

    name = "number"


class Seconds(click.FloatRange):
    """A number of seconds."""

    name = "number"


class Json(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]  # generic since click 8.5
    """JSON: the text itself, ``-`` for stdin, ``@file`` for a file."""

    name = "json"

    def __init__(self, *, must_be_object: bool = False) -> None:
        self._must_be_object = must_be_object

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The data. What is no text is a default, and as it should be."""
        if not isinstance(value, str):
            return value  # pyright: ignore[reportUnknownVariableType]  # of Any
        text, where = self._read(value, param, ctx)
        try:
            data: Any = json.loads(text)
        except ValueError as error:
            self.fail(f"{where} is not valid JSON: {_position(error, text)}", param, ctx)
        if self._must_be_object and not isinstance(data, dict):
            self.fail(f'{where} must be a JSON object, such as {{"url": "https://example.com"}}.', param, ctx)
        return data  # pyright: ignore[reportUnknownVariableType]  # of Any

    def _read(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if value == "-":
            return sys.stdin.read(), "stdin"
        if not value.startswith("@"):
            return value, repr(value) if len(value) <= 60 else "it"
        path = Path(value[1:])
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            self.fail(f"{path} cannot be read: {why}.", param, ctx)


def _position(error: ValueError, text: str) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return f"{error}."
    line = text.splitlines()[error.lineno - 1] if text.strip() else ""
    near = line[max(0, error.colno - 11) : error.colno + 10].strip()
    shown = f", near {near!r}" if near else ""
    return f"{error.msg} at line {error.lineno}, column {error.colno}{shown}."


class Override(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]  # generic since click 8.5
    """``KEY=JSON``: what a replay changes in a call."""

    name = "key=json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        key, sign, text = value.partition("=")
        if not sign or not key:
            self.fail(f"{value!r}: KEY=JSON is expected, such as 'fetch={{\"output\": 1}}'.", param, ctx)
        return key, Json(must_be_object=True).convert(text, param, ctx)


class FlowName(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]  # generic since click 8.5
    """The name of a deployed flow."""

    name = "flow"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002  # click's signature
        names = dict.fromkeys(one.flow for one in _client().deployments.list(limit=1000))
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class Image(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]  # generic since click 8.5
    """A base image, or a JSON object of settings, which ``-`` and ``@file`` can hold too."""

    name = "image"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The base image as text, or the settings as a mapping."""
        is_json = isinstance(value, str) and value[:1] in ("{", "@", "-")
        return Json(must_be_object=True).convert(value, param, ctx) if is_json else value


class Option(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]  # generic since click 8.5
    """``KEY=VALUE``: JSON where the value is some, else text."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        key, sign, text = value.partition("=")
        if not sign or not key:
            self.fail(f"{value!r}: KEY=VALUE is expected.", param, ctx)
        try:
            return key, json.loads(text)
        except ValueError:
            return key, text


class Time(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]  # generic since click 8.5
    """A point in time: ISO 8601, or how long ago (``30m``, ``2h``, ``7d``)."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        span = _span(value)
        if span is not None:
            return datetime.now(UTC) - span
        try:
            return datetime.fromisoformat(value).astimezone()
        except ValueError:
            self.fail(f"{value!r}: a time such as 2026-05-01T09:30, or how long ago: 30m, 2h, 7d.", param, ctx)


class Span(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]  # generic since click 8.5
    """A duration: ``90s``, ``30m``, ``2h``, ``7d``, ``4w``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        span = value if isinstance(value, timedelta) else _span(value)
        if span is None:
            self.fail(f"{value!r}: a duration such as 90s, 30m, 2h, 7d or 4w.", param, ctx)
        return span


def _span(text: str) -> timedelta | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    return None if found is None else timedelta(seconds=float(found[1]) * _UNITS[found[2]])


def exec_id(name: str = "exec_id") -> Callable[[Any], Any]:
    """The argument that names an execution."""
    return click.argument(name, metavar="ID", type=ExecutionId())
