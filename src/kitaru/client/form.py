"""A form for the answer of a wait: field by field, each asked again until it fits (S5.4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple, Protocol, cast

from kitaru.core.wait import Wait
from kitaru.engine.answers import misfits

Schema = Mapping[str, Any]

ABORT = "!abort"
_YES = ("y", "yes", "true")
_NO = ("n", "no", "false")
_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "y/n", "null": "null"}


class Screen(Protocol):
    """Where a form is filled in."""

    def show(self, line: str) -> None:
        """Show a line."""
        ...

    def read(self, prompt: str) -> str | None:
        """Show a prompt and return the line that is typed behind it; None where no more is to be asked."""
        ...


class Given(NamedTuple):
    """The form was filled in."""

    value: Any


class Aborted(NamedTuple):
    """The wait is to be aborted."""


class _Left(Exception):
    """No more is to be asked."""


class _Abort(Exception):
    """``!abort`` was typed."""


_OMITTED: Any = object()
"""Stands for a field that was not filled in and need not be."""


def fill_in(wait: Wait, screen: Screen) -> Given | Aborted | None:
    """Ask for the answer of a wait; None where the form was left.

    An object is asked for field by field, a choice by its values, a gate by y or n. What does not fit its
    schema is told and asked again, so what is given back fits as far as the fields alone can tell.
    """
    try:
        if wait.schema is None:
            return Given(True) if _yes_or_no(screen, "continue? (y/n)", None) else Aborted()
        form = _Form(wait.schema, screen)
        return Given(form.value("answer", wait.schema, top=True))
    except _Abort:
        return Aborted()
    except _Left:
        return None


def plain(text: str) -> str:
    """Text for a terminal without anything that would move the cursor: it may come from a model."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


class _Form:
    """One form; ``root`` is what references in its schema point into."""

    def __init__(self, root: Schema, screen: Screen) -> None:
        self._root = root
        self._screen = screen

    def value(self, label: str, schema: Schema, *, top: bool = False, required: bool = True) -> Any:
        """The value of a field, or ``_OMITTED``."""
        found = self._resolved(schema)
        fields = found.get("properties")
        if found.get("type") == "object" and fields and required and "default" not in schema:
            return self._object(label, found, fields, top=top)
        return self._field(label, schema, found, required=required)

    def _object(self, label: str, schema: Schema, fields: Schema, *, top: bool) -> Any:
        needed: Any = schema.get("required", ())
        names = sorted(fields, key=lambda name: name not in needed)  # schemas are kept in the order of the alphabet
        while True:
            answers = {
                name: self.value(name if top else f"{label}.{name}", fields[name], required=name in needed)
                for name in names
            }
            answer = {name: value for name, value in answers.items() if value is not _OMITTED}
            wrong = self._misfits(schema, answer)
            if not wrong:
                return answer
            self._screen.show(f"  {wrong} Once more:")

    def _field(self, label: str, schema: Schema, found: Schema, *, required: bool) -> Any:
        if "description" in found:
            self._screen.show(f"  {plain(str(found['description']))}")
        has_default = "default" in schema
        notes = [_expected(found)]
        if has_default:
            notes.append(f"Enter: {_shown(schema['default'])}")
        elif not required:
            notes.append("Enter: none")
        while True:
            text = _line(self._screen, f"{plain(label)} ({'; '.join(notes)})")
            if not text and has_default:
                return schema["default"]
            if not text and not required:
                return _OMITTED
            if not text:
                self._screen.show(
                    f'  An answer is expected ("" is an empty text). {ABORT} aborts, Ctrl-D leaves it open.'
                )
                continue
            try:
                value = _parsed(text, found)
            except ValueError as error:
                self._screen.show(f"  {plain(str(error))}")
                continue
            wrong = self._misfits(schema, value)
            if not wrong:
                return value
            self._screen.show(f"  {wrong}")

    def _misfits(self, schema: Schema, value: Any) -> str:
        definitions = {key: self._root[key] for key in ("$defs", "definitions", "$schema") if key in self._root}
        found = misfits(json.dumps({**definitions, **schema}), value)
        return "; ".join(plain(one.removeprefix("$: ").removeprefix("$.")) for one in found[:5])

    def _resolved(self, schema: Schema) -> Schema:
        """What a schema says once its references are followed; its own words count over those."""
        for _ in range(10):  # references may go round
            inner: Any = None
            reference = schema.get("$ref")
            choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
            if isinstance(reference, str) and reference.startswith("#/"):
                inner = self._root
                for part in reference[2:].split("/"):
                    inner = cast("Schema", inner).get(part, {}) if isinstance(inner, Mapping) else {}
            elif len(choices) == 1:
                inner = choices[0]
            elif len(schema.get("allOf", ())) == 1:
                inner = schema["allOf"][0]
            if not isinstance(inner, Mapping):
                break
            rest = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf", "allOf")}
            schema = {**cast("Schema", inner), **rest}
        return schema


def _yes_or_no(screen: Screen, prompt: str, default: bool | None) -> bool:
    while True:
        text = _line(screen, prompt).lower()
        if text in _YES or (not text and default is True):
            return True
        if text in _NO or (not text and default is False):
            return False
        screen.show("  y or n is expected. Ctrl-D leaves it open.")


def _line(screen: Screen, prompt: str) -> str:
    text = screen.read(f"  {prompt}: ")
    if text is None:
        raise _Left
    if text.strip() == ABORT:
        raise _Abort
    return text.strip()


def _parsed(text: str, schema: Schema) -> Any:
    """What was typed, as data. Raises ``ValueError`` with what is expected."""
    if "enum" in schema:
        return _choice(text, schema["enum"])
    if "const" in schema:
        return _choice(text, [schema["const"]])
    kind: Any = schema.get("type")
    if kind == "boolean":
        if text.lower() in (*_YES, *_NO):
            return text.lower() in _YES
        raise ValueError("y or n is expected.")
    kinds = cast("list[Any]", kind) if isinstance(kind, list) else [kind]
    is_text = "string" in kinds
    if is_text and not text.startswith('"'):
        return text
    try:
        return json.loads(text)
    except ValueError:
        if is_text or kind is None:
            return text  # where anything is allowed, text is what people mean
        raise ValueError(f"{_shown(text)} is no {_WORDS.get(str(kinds[0]), 'valid JSON')}.") from None


def _choice(text: str, choices: list[Any]) -> Any:
    by_text = {_text_of(choice): choice for choice in choices}
    if text in by_text:
        return by_text[text]
    folded = [choice for written, choice in by_text.items() if written.lower() == text.lower()]
    if len(folded) == 1:
        return folded[0]
    near = get_close_matches(text, list(by_text), 1)
    hint = f"did you mean {near[0]}?" if near else f"possible are {', '.join(by_text)}."
    raise ValueError(f"{_shown(text)} is none of the choices; {hint}")


def _expected(schema: Schema) -> str:
    if "enum" in schema:
        return plain(" | ".join(_text_of(choice) for choice in schema["enum"]))
    if "const" in schema:
        return plain(_text_of(schema["const"]))
    kind: Any = schema.get("type")
    if kind is None:
        return "text or JSON"
    if isinstance(kind, list):
        return plain(" or ".join(str(one) for one in cast("list[Any]", kind)))
    if kind == "string" and "format" in schema:
        return plain(str(schema["format"]))
    return _WORDS.get(str(kind), "JSON")


def _text_of(choice: Any) -> str:
    return choice if isinstance(choice, str) else json.dumps(choice)


def _shown(value: Any) -> str:
    text = plain(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 60 else f"{text[:57]}..."
