"""Polars frames and series, as Arrow IPC files that Polars itself writes and reads."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import polars as pl

from kitaru.values.json_text import Json
from kitaru.values.walk import Decoder, Encoder, Leaf, Refused, Writer


def encoder_for(cls: type) -> Encoder | None:
    """The encoder of an exact type, None where it is not one of these."""
    if cls is pl.DataFrame:
        return _frame
    return _series if cls is pl.Series else None


def _frame(value: Any, write: Writer) -> Json:
    return write.leaf("polars.frame", _ipc_bytes(value))


def _series(value: Any, write: Writer) -> Json:
    return write.leaf("polars.series", _ipc_bytes(value.to_frame()))


def _ipc_bytes(frame: Any) -> bytes:
    try:
        data = _write(frame)
        again = _read_frame(data)
    except pl.exceptions.PolarsError as error:
        raise Refused(f"Polars cannot write it as Arrow IPC: {error}.") from error
    if again.schema != frame.schema or not again.equals(frame, null_equal=True):
        raise Refused("a frame of these dtypes is not the same after Arrow IPC. Cast the columns to plain dtypes.")
    # Written twice: a frame keeps traces of how it was made (an empty null mask). What has been read gives the same
    # bytes when it is written again, so a resumed run finds its records.
    return _write(again)


def _write(frame: Any) -> bytes:
    file = BytesIO()
    frame.rechunk().write_ipc(file)
    return file.getvalue()


def _read_frame(data: bytes) -> Any:
    return pl.read_ipc(BytesIO(data))


def _read_series(data: bytes) -> Any:
    return _read_frame(data).to_series(0)


DECODERS: dict[str, Decoder] = {
    "polars.frame": Leaf(_read_frame),
    "polars.series": Leaf(_read_series),
}
