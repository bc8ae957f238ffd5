"""Arrow tables, record batches and arrays, as Arrow IPC streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow  # pyright: ignore[reportMissingTypeStubs]

from kitaru.values.json_text import Json
from kitaru.values.walk import Decoder, Encoder, Leaf, Refused, Writer

pa: Any = pyarrow  # it has no types


def encoder_for(cls: type) -> Encoder | None:
    """The encoder of an exact type, None where it is not one of these."""
    if cls is pa.Table:
        return _encoder("arrow.table", lambda value: value, _table)
    if cls is pa.RecordBatch:
        return _encoder("arrow.batch", lambda value: pa.Table.from_batches([value]), _batch)
    if issubclass(cls, pa.Array):
        return _encoder("arrow.array", lambda value: pa.table([value], names=["value"]), _array)
    if cls is pa.ChunkedArray:
        return _encoder("arrow.chunked", lambda value: pa.table([value], names=["value"]), _chunked)
    return None


def _encoder(tag: str, to_table: Callable[[Any], Any], read: Callable[[bytes], Any]) -> Encoder:
    def encode(value: Any, write: Writer) -> Json:
        data = ipc_bytes(to_table(value))
        again = read(data)
        if type(again) is not type(value) or not _is_same(again, value):
            name = type(value).__name__
            raise Refused(f"a {name} of these types is not the same after Arrow IPC. Cast them to plain types.")
        return write.leaf(tag, data)

    return encode


def _is_same(again: Any, value: Any) -> bool:
    if isinstance(value, pa.Table | pa.RecordBatch):
        return again.schema.equals(value.schema, check_metadata=True) and _data_equals(again, value)
    return again.type == value.type and _data_equals(again, value)


def _data_equals(again: Any, value: Any) -> bool:
    # Arrow says that nan differs from nan; then the bytes decide.
    return again.equals(value) or ipc_bytes(_as_table(again)) == ipc_bytes(_as_table(value))


def _as_table(value: Any) -> Any:
    if isinstance(value, pa.Table):
        return value
    return pa.Table.from_batches([value]) if isinstance(value, pa.RecordBatch) else pa.table([value], names=["value"])


def ipc_bytes(table: Any) -> bytes:
    """A table as an IPC stream of one batch, so that equal tables give equal bytes however they are chunked."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        for batch in table.combine_chunks().to_batches():
            stream.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _table(data: bytes) -> Any:
    return pa.ipc.open_stream(data).read_all()


def _batch(data: bytes) -> Any:
    table = _table(data)
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _chunked(data: bytes) -> Any:
    return _table(data).column(0)


def _array(data: bytes) -> Any:
    column = _chunked(data)
    return column.chunk(0) if column.num_chunks == 1 else pa.array([], type=column.type)


DECODERS: dict[str, Decoder] = {
    "arrow.table": Leaf(_table),
    "arrow.batch": Leaf(_batch),
    "arrow.array": Leaf(_array),
    "arrow.chunked": Leaf(_chunked),
}
