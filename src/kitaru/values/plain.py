"""Recorded values as plain JSON data, for eyes and for programs that are not Python.

No class of the user is loaded, so whoever only looks at an execution runs none of its code. What JSON cannot
say is said as well as it can be: a tuple is a list, a time its ISO text, a dataclass an object of its fields.
What has no such form keeps its tag, ``{"$numpy.array": ...}``, and what is large its address, ``{"$blob": ...}``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import timedelta

from kitaru.core.ports import Blobs
from kitaru.errors import KitaruError
from kitaru.values.json_text import Json, from_text

MOST_SHOWN = 1 << 20
"""Bytes: a blob that is longer is shown as its address."""


def plain(tree: Json, blobs: Blobs) -> Json:
    """The plain form of a tree."""
    if isinstance(tree, list):
        return [plain(item, blobs) for item in tree]  # pyright: ignore[reportUnknownVariableType]  # of Any
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:  # pyright: ignore[reportUnknownArgumentType]  # of Any
        ((tag, payload),) = tree.items()  # pyright: ignore[reportUnknownVariableType]  # of Any
        if tag == "$blob":
            return _blob(payload, blobs)
        form = _FORMS.get(tag)  # pyright: ignore[reportUnknownArgumentType]  # of Any
        if form is not None:
            return form(payload, lambda part: plain(part, blobs))
    return {key: plain(item, blobs) for key, item in tree.items()}  # pyright: ignore[reportUnknownVariableType]  # of Any


Plain = Callable[[Json], Json]


def _blob(reference: Json, blobs: Blobs) -> Json:
    codec = reference["codec"]
    if codec in ("json", "str") and reference["size"] <= MOST_SHOWN:
        try:
            text = blobs.get(reference["digest"]).decode("utf-8", "replace")
        except KitaruError:  # lost or damaged: its address is all that can be shown of it
            return {"$blob": reference}
        return text if codec == "str" else plain(from_text(text), blobs)
    return {"$blob": reference}


def _pairs(payload: Json, part: Plain) -> Json:
    pairs = [(part(key), part(value)) for key, value in payload]
    if all(isinstance(key, (str, int, float, bool)) for key, _ in pairs):
        return {str(key): value for key, value in pairs}
    return [[key, value] for key, value in pairs]


def _time(payload: Json, part: Plain) -> Json:
    if isinstance(payload, str):
        return payload
    text, zone, _fold = payload
    return text if zone is None else f"{text}[{part(zone)}]"


def _zone(payload: Json, _part: Plain) -> Json:
    minutes = round(timedelta(*payload[0]).total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _second(payload: Json, part: Plain) -> Json:
    return part(payload[1])


def _first(payload: Json, part: Plain) -> Json:
    return part(payload[0])


def _as_it_is(payload: Json, part: Plain) -> Json:
    return part(payload)


_FORMS: Mapping[str, Callable[[Json, Plain], Json]] = {
    **dict.fromkeys(("$tuple", "$set", "$frozenset", "$counter", "$date"), _as_it_is),
    **dict.fromkeys(("$decimal", "$uuid", "$float", "$zoneinfo"), _as_it_is),
    **dict.fromkeys(("$dict", "$ordered_dict"), _pairs),
    **dict.fromkeys(("$defaultdict", "$path", "$enum", "$flag", "$codec", "$pydantic.url"), _second),
    **dict.fromkeys(("$namedtuple", "$dataclass", "$attrs", "$pydantic.model"), _second),
    **dict.fromkeys(("$datetime", "$time"), _time),
    "$deque": _first,
    "$timezone": _zone,
    "$timedelta": lambda payload, _part: timedelta(*payload).total_seconds(),
    "$int": lambda payload, _part: int(payload, 16),
    "$str": lambda payload, _part: base64.b64decode(payload).decode("utf-8", "replace"),
}
