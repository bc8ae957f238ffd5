"""The layers of configuration that lie outside of a flow (S1.8), and the settings that they make."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kitaru.core.image import ImageSettings
from kitaru.core.info import Info, Setting
from kitaru.core.masking import MASK, looks_secret, masked_url
from kitaru.core.retry import check_retries
from kitaru.core.stack import LOCAL
from kitaru.errors import KitaruUsageError
from kitaru.services import wiring as process
from kitaru.services.settings import DEFAULT, Given, project_settings, project_source, settings_given, true_or_false
from kitaru.services.wiring import Wiring

CONFIGURE = "kitaru.configure()"
ACTIVE = "active stack"


def given_outside(option: str) -> list[Given]:
    """What ``kitaru.configure``, the environment and the project give for an option, strongest first.

    Args:
        option: ``stack``, ``retries``, ``cache`` or ``image``.

    Raises:
        KitaruUsageError: A layer holds a wrong value; the layer is named.
    """
    variable = f"KITARU_{option.upper()}"
    text = os.environ.get(variable)
    layers = [
        Given(process.overrides.get(option), CONFIGURE),
        Given(_FROM_TEXT[option](text) if text else None, variable),
    ]
    of_project = project_settings().get(option)
    if of_project is not None:  # asked first: where it comes from is looked for in the file system
        layers.append(Given(of_project, project_source()))
    return [layer for layer in layers if layer.value is not None]


def merged_image(layers: list[ImageSettings | None]) -> ImageSettings | None:
    """One image out of several, the strongest first: by field, its environment by key."""
    merged: ImageSettings | None = None
    for layer in reversed(layers):
        if layer is not None:
            merged = layer.over(merged)
    return merged


def info(wiring: Wiring) -> Info:
    """Every setting in force, and the layer that it comes from.

    Raises:
        KitaruUsageError: A layer holds a wrong value.
    """
    from importlib.metadata import version  # noqa: PLC0415  # 40 ms, and only people ask for this

    settings = [_of_process(wiring, name, given) for name, given in settings_given(process.overrides).items()]
    defaults = {"stack": Given(LOCAL, DEFAULT), "retries": Given(0, DEFAULT), "cache": Given(True, DEFAULT)}
    active = wiring.store.stacks.active()
    if active is not None:
        defaults["stack"] = Given(active, ACTIVE)
    for option, default in defaults.items():
        first = next(iter(given_outside(option)), default)
        settings.append(Setting(name=option, value=first.value, source=first.source))
    settings += _image_settings(given_outside("image"))
    return Info(version=version("kitaru"), settings=tuple(settings))


def _of_process(wiring: Wiring, name: str, given: Given) -> Setting:
    in_force = getattr(wiring.settings, name)
    # The settings of a store are read once: what has changed since, a directory for one, is not in force.
    source = given.source if str(in_force) == str(given.value) else "this process, when it began"
    return Setting(name=name, value=in_force if isinstance(in_force, int) else masked_url(str(in_force)), source=source)


class _Field(NamedTuple):
    value: object
    source: str


def _image_settings(layers: list[Given]) -> list[Setting]:
    fields: dict[str, _Field] = {}
    for image, source in reversed(layers):
        given: Mapping[str, Any] = json.loads(image.to_json())
        for name, value in given.items():
            if name != "environment":
                fields[f"image.{name}"] = _Field(value, source)
                continue
            for key, text in value.items():
                fields[f"image.{name}.{key}"] = _Field(MASK if looks_secret(key) else text, source)
    if not fields:
        return [Setting(name="image", value=None, source=DEFAULT)]
    return [Setting(name=name, value=field.value, source=field.source) for name, field in sorted(fields.items())]


def _retries(text: str) -> int:
    try:
        return check_retries(int(text), "KITARU_RETRIES")
    except ValueError:
        raise KitaruUsageError(f"KITARU_RETRIES={text!r}: a whole number, 0 or more, is expected.") from None


def _cache(text: str) -> bool:
    return true_or_false(text, "KITARU_CACHE")


def _image(text: str) -> ImageSettings:
    try:
        image = json.loads(text) if text.lstrip().startswith("{") else text
    except ValueError as error:
        raise KitaruUsageError(f"KITARU_IMAGE is not valid JSON: {error}.") from None
    return ImageSettings.parse(image, "KITARU_IMAGE")


_FROM_TEXT: Mapping[str, Callable[[str], Any]] = {"stack": str, "retries": _retries, "cache": _cache, "image": _image}
