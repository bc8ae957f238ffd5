"""What an execution's environment should be, where the stack builds one (S8.5)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from kitaru.errors import KitaruUsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """Environment of an execution on stacks that build one; an ad-hoc local run only records it.

    Every field may be left out; what is left out is taken from the next layer of configuration
    (S1.8). ``environment`` merges by key.

    Attributes:
        base_image: Container image to start from.
        requirements: Python requirements (PEP 508), as for ``pip install``.
        environment: Environment variables. Recorded as they are: nothing secret belongs here.
        secret_environment_from: Names of secrets; each becomes an environment variable of its own name.
        apt_packages: Debian packages.
        replicate_local_python_environment: Take over the packages of the environment that submits.
        dockerfile: Path of a Dockerfile to build instead.

    Raises:
        KitaruUsageError: A field has the wrong type.
    """

    base_image: str | None = None
    requirements: tuple[str, ...] | None = None
    environment: Mapping[str, str] | None = None
    secret_environment_from: tuple[str, ...] | None = None
    apt_packages: tuple[str, ...] | None = None
    replicate_local_python_environment: bool | None = None
    dockerfile: str | None = None

    def __post_init__(self) -> None:
        for name in ("base_image", "dockerfile"):
            _check(name, getattr(self, name), str, "a string")
        for name in ("requirements", "apt_packages", "secret_environment_from"):
            value: Any = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _strings(name, value))
        flag: object = self.replicate_local_python_environment
        _check("replicate_local_python_environment", flag, bool, "True or False")
        environment: Any = self.environment
        if environment is not None:
            _check("environment", environment, Mapping, "a mapping of names to strings")
            for key, value in environment.items():
                if not isinstance(key, str) or not isinstance(value, str):
                    raise KitaruUsageError(f"image.environment[{key!r}]={value!r}: names and values must be strings.")
            object.__setattr__(self, "environment", dict(environment))

    def over(self, lower: ImageSettings | None) -> ImageSettings:
        """These settings over those of a lower layer: by field, ``environment`` by key."""
        if lower is None:
            return self
        given: dict[str, Any] = {
            field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None
        }
        if self.environment is not None and lower.environment is not None:
            given["environment"] = {**lower.environment, **self.environment}
        return replace(lower, **given)

    def to_json(self) -> str:
        """The fields that are set, as JSON."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None}, sort_keys=True)

    @classmethod
    def parse(cls, image: object, owner: str) -> ImageSettings:
        """Settings from what a user may write: a string (the base image), a mapping, or settings.

        Args:
            image: What was written.
            owner: Where it was written, for the message.

        Raises:
            KitaruUsageError: Another type, an unknown field (the nearest one is named), a wrong value.
        """
        if isinstance(image, ImageSettings):
            return image
        if isinstance(image, str):
            return cls(base_image=image)
        if not isinstance(image, Mapping):
            raise KitaruUsageError(
                f"{owner}: image={image!r}: a string, a mapping or kitaru.ImageSettings is expected."
            )
        names = [field.name for field in fields(cls)]
        given: dict[Any, Any] = dict(image)  # pyright: ignore[reportUnknownArgumentType]  # checked below
        for key in given:
            if key not in names:
                near = get_close_matches(str(key), names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; the fields are {', '.join(names)}."
                raise KitaruUsageError(f"{owner}: image has no field {key!r}{hint}")
        try:
            return cls(**given)
        except KitaruUsageError as error:
            raise KitaruUsageError(f"{owner}: {error}") from None


Image = str | Mapping[str, Any] | ImageSettings
"""What may be given as ``image``: a base image, a mapping of fields, or ``ImageSettings``."""


def _check(name: str, value: object, kind: type, wanted: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise KitaruUsageError(f"image.{name}={value!r}: {wanted} is expected.")


def _strings(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise KitaruUsageError(f"image.{name}={value!r}: a list of strings is expected.")
    items: list[object] = list(value)  # pyright: ignore[reportUnknownArgumentType]  # checked below
    strings = [item for item in items if isinstance(item, str)]
    if len(strings) != len(items):
        raise KitaruUsageError(f"image.{name}={value!r}: every item must be a string.")
    return tuple(strings)
