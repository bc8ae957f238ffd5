"""NumPy arrays and scalars. Arrays travel as ``.npy``, which NumPy itself reads, without pickle."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.lib import format as npy

from kitaru.values.json_text import Json
from kitaru.values.walk import Decoder, Encoder, Leaf, Reader, Refused, Writer


def encoder_for(cls: type) -> Encoder | None:
    """The encoder of an exact type, None where it is not one of these."""
    if cls is np.ndarray:
        return _array
    if issubclass(cls, np.generic) and getattr(np, cls.__name__, None) is cls:
        return _scalar
    return None


def _array(value: Any, write: Writer) -> Json:
    return write.leaf("numpy.array", npy_bytes(value))


def npy_bytes(array: Any) -> bytes:
    """The array as an ``.npy`` file, in C order. Raises ``Refused`` where that would lose something."""
    dtype = array.dtype
    if dtype.hasobject:
        raise Refused(f"an array of dtype {dtype} holds Python objects. Record array.tolist().")
    again = npy.descr_to_dtype(npy.dtype_to_descr(dtype))
    if again != dtype or again.type is not dtype.type or dtype.metadata:
        raise Refused(f"an array of dtype {dtype!r} cannot be written exactly. Convert it to a plain dtype.")
    file = BytesIO()
    npy.write_array(file, array if array.flags.c_contiguous else array.copy(order="C"), allow_pickle=False)
    return file.getvalue()


def array_of(data: bytes) -> Any:
    """The array of an ``.npy`` file."""
    return npy.read_array(BytesIO(data), allow_pickle=False)


def _scalar(value: Any, write: Writer) -> Json:
    name, kind = type(value).__name__, value.dtype.kind
    if kind in "biu" or (kind == "f" and value.dtype.itemsize <= 8):
        return {"$numpy.scalar": [name, write.tree(value.item())]}
    if kind in "US":
        return {"$numpy.scalar": [name, write.tree(str.__str__(value) if kind == "U" else bytes(value))]}
    return write.leaf("numpy.element", npy_bytes(np.asarray(value)))


def _read_scalar(payload: Json, read: Reader) -> object:
    cls: Any = getattr(np, payload[0])
    if np.generic not in cls.__mro__:
        raise TypeError(f"numpy.{payload[0]} is no scalar type")
    return cls(read.value(payload[1]))


def _element(data: bytes) -> object:
    return array_of(data)[()]


DECODERS: dict[str, Decoder] = {
    "numpy.array": Leaf(array_of),
    "numpy.element": Leaf(_element),
    "numpy.scalar": _read_scalar,
}
