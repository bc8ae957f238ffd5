"""Pillow images: PNG, which people can look at, for the modes that it keeps exactly; else the raw pixels."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image

from kitaru.values.json_text import Json
from kitaru.values.walk import Decoder, Encoder, Reader, Refused, Step, Writer

_PNG_MODES = ("1", "L", "LA", "RGB", "RGBA")


def encoder_for(cls: type) -> Encoder | None:
    """The encoder of an exact type, None where it is not one of these."""
    if cls is Image.Image:
        return _image
    return _file if issubclass(cls, Image.Image) else None


def _file(value: Any, _write: Writer) -> Json:
    raise Refused(f"a {type(value).__name__} belongs to an open file. Record image.copy(), which is a plain image.")


def _image(value: Any, write: Writer) -> Json:
    if value.mode in _PNG_MODES and value.width and value.height:
        file = BytesIO()
        # A bare copy of the pixels, so that the info is written in one place only.
        Image.frombytes(value.mode, value.size, value.tobytes()).save(file, "PNG", compress_level=1)
        pixels = write.leaf("bytes", file.getvalue())
    else:
        pixels = write.leaf("bytes", value.tobytes())
    palette = None if value.palette is None else [value.palette.mode, write.tree(bytes(value.palette.palette))]
    info = write.part(value, Step.ATTRIBUTE, "info", value.info)
    return {"$pillow.image": [value.mode, list(value.size), pixels, palette, info]}


def _read_image(payload: Json, read: Reader) -> object:
    mode, (width, height), pixels, palette, info = payload
    data: Any = read.value(pixels)
    if mode in _PNG_MODES and width and height:
        with Image.open(BytesIO(data)) as file:
            image = file.copy()
        image.info = {}
    else:
        image = Image.frombytes(mode, (width, height), data)
    if palette is not None:
        image.putpalette(read.value(palette[1]), palette[0])
    image.info = read.value(info)
    return image


DECODERS: dict[str, Decoder] = {"pillow.image": _read_image}
