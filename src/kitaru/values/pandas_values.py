"""Pandas frames, series, indexes and scalars, column by column.

Not as one Arrow table: that would turn an object column's values into others and lose most of an index.
Each column travels in the form that is exact for its dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas  # pyright: ignore[reportMissingTypeStubs]

from kitaru.values.json_text import Json
from kitaru.values.walk import Decoder, Encoder, Reader, Refused, Step, Writer

pd: Any = pandas  # its own types are partial


def encoder_for(cls: type) -> Encoder | None:
    """The encoder of an exact type, None where it is not one of these."""
    return _ENCODERS.get(cls)


# The nullable dtypes that hold their values and what is missing apart.
_MASKED = (
    *(f"{sign}{bits}" for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)),
    "Float32",
    "Float64",
    "boolean",
)


# ── one-dimensional data ─────────────────────────────────────────────────────────────────────────


def _data(values: Any, write: Writer) -> Json:
    """The values of a column, a series or an index: ``[kind, ...]``."""
    dtype = values.dtype
    if isinstance(dtype, np.dtype):
        array = np.asarray(values)
        if array.dtype.hasobject:
            return ["objects", write.items(values, array.tolist())]
        return ["numpy", write.tree(array)]
    array = values.array
    if isinstance(dtype, pd.CategoricalDtype):
        return ["categorical", _index(dtype.categories, write), write.tree(np.asarray(array.codes)), dtype.ordered]
    if isinstance(dtype, pd.StringDtype):
        missing = "NA" if dtype.na_value is pd.NA else "nan"
        texts = [text if isinstance(text, str) else None for text in array]
        return ["strings", dtype.storage, missing, write.tree(texts)]
    if isinstance(dtype, pd.DatetimeTZDtype):
        return ["zoned", write.tree(array.tz_convert("UTC").tz_localize(None).to_numpy()), write.tree(dtype.tz)]
    if isinstance(dtype, pd.PeriodDtype):
        return ["periods", write.tree(np.asarray(array.asi8)), array.freqstr]
    if isinstance(dtype, pd.IntervalDtype):
        return ["intervals", _index(array.left, write), _index(array.right, write), dtype.closed]
    if isinstance(dtype, pd.ArrowDtype):
        return ["arrow", write.tree(array.__arrow_array__())]
    if dtype.name in _MASKED:
        filled = array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
        return ["masked", dtype.name, write.tree(filled), write.tree(array.isna())]
    raise Refused(f"a column of dtype {dtype} has no exact form. Convert it to a plain dtype.")


def _read_data(tree: Json, read: Reader) -> Any:
    """A NumPy or pandas array."""
    kind, *rest = tree
    if kind == "objects":
        objects = np.empty(len(rest[0]), dtype=object)
        for position, item in enumerate(read.value(rest[0])):
            objects[position] = item
        return objects
    return _READERS[kind](read, *rest)


def _read_categorical(read: Reader, categories: Json, codes: Json, ordered: bool) -> Any:
    dtype = pd.CategoricalDtype(_read_index_data(categories, read), ordered=ordered)
    return pd.Categorical.from_codes(read.value(codes), dtype=dtype)


def _read_strings(read: Reader, storage: Any, missing: str, texts: Json) -> Any:
    dtype = pd.StringDtype(storage, na_value=np.nan if missing == "nan" else pd.NA)
    return pd.array(read.value(texts), dtype=dtype)


def _read_zoned(read: Reader, utc: Json, zone: Json) -> Any:
    return pd.DatetimeIndex(read.value(utc)).tz_localize("UTC").tz_convert(read.value(zone)).array


def _read_periods(read: Reader, ordinals: Json, freq: str) -> Any:
    return pd.PeriodIndex.from_ordinals(read.value(ordinals), freq=freq).array


def _read_intervals(read: Reader, left: Json, right: Json, closed: Any) -> Any:
    return pd.arrays.IntervalArray.from_arrays(
        _read_index_data(left, read), _read_index_data(right, read), closed=closed
    )


def _read_masked(read: Reader, name: str, values: Json, missing: Json) -> Any:
    dtype: Any = pd.api.types.pandas_dtype(name)
    return dtype.construct_array_type()(read.value(values), read.value(missing))


def _read_arrow(read: Reader, column: Json) -> Any:
    values = read.value(column)
    return pd.array(values, dtype=pd.ArrowDtype(values.type))


_READERS: dict[str, Any] = {
    "numpy": Reader.value,
    "categorical": _read_categorical,
    "strings": _read_strings,
    "zoned": _read_zoned,
    "periods": _read_periods,
    "intervals": _read_intervals,
    "masked": _read_masked,
    "arrow": _read_arrow,
}


# ── indexes, series, frames ──────────────────────────────────────────────────────────────────────


def _index(value: Any, write: Writer) -> Json:
    if type(value) is pd.RangeIndex:
        return ["range", [value.start, value.stop, value.step], write.tree(value.name)]
    if type(value) is pd.MultiIndex:
        levels = [_index(level, write) for level in value.levels]
        codes = [write.tree(np.asarray(code)) for code in value.codes]
        return ["multi", levels, codes, write.tree(list(value.names))]
    freq = getattr(value, "freqstr", None) if isinstance(value, pd.DatetimeIndex | pd.TimedeltaIndex) else None
    return ["plain", _data(value, write), write.tree(value.name), freq]


def _read_index_data(tree: Json, read: Reader) -> Any:
    kind, data, *rest = tree
    if kind == "range":
        return pd.RangeIndex(*data, name=read.value(rest[0]))
    if kind == "multi":
        levels = [_read_index_data(level, read) for level in data]
        codes = [read.value(code) for code in rest[0]]
        return pd.MultiIndex(levels=levels, codes=codes, names=read.value(rest[1]), verify_integrity=False)
    values = _read_data(data, read)
    index: Any = pd.Index(values, dtype=values.dtype, name=read.value(rest[0]))
    if rest[1] is not None:
        index.freq = rest[1]
    return index


def _series(value: Any, write: Writer) -> Json:
    return {
        "$pandas.series": [
            _data(value, write),
            _index(value.index, write),
            write.tree(value.name),
            _attrs(value, write),
        ]
    }


def _read_series(payload: Json, read: Reader) -> object:
    data, index, name, attrs = payload
    values = _read_data(data, read)
    series = pd.Series(values, dtype=values.dtype, index=_read_index_data(index, read), name=read.value(name))
    series.attrs = read.value(attrs)
    return series


def _frame(value: Any, write: Writer) -> Json:
    columns = [_column(value, position, write) for position in range(value.shape[1])]
    return {"$pandas.frame": [columns, _index(value.columns, write), _index(value.index, write), _attrs(value, write)]}


def _column(frame: Any, position: int, write: Writer) -> Json:
    try:
        return _data(frame.iloc[:, position], write)
    except Refused as refused:
        refused.steps.append((Step.ITEM, frame.columns[position], frame))
        raise


def _read_frame(payload: Json, read: Reader) -> object:
    columns, names, index, attrs = payload
    rows = _read_index_data(index, read)
    series: dict[int, Any] = {}
    for position, column in enumerate(columns):
        values = _read_data(column, read)
        # With its dtype said, since pandas would take a column of str objects for one of its own strings.
        series[position] = pd.Series(values, dtype=values.dtype, index=rows)
    frame = pd.DataFrame(series, index=rows)
    frame.columns = _read_index_data(names, read)
    frame.attrs = read.value(attrs)
    return frame


def _attrs(value: Any, write: Writer) -> Json:
    return write.part(value, Step.ATTRIBUTE, "attrs", value.attrs)


# ── scalars ──────────────────────────────────────────────────────────────────────────────────────


def _timestamp(value: Any, write: Writer) -> Json:
    return {"$pandas.timestamp": [int(value.asm8.astype("i8")), value.unit, write.tree(value.tzinfo)]}


def _read_timestamp(payload: Json, read: Reader) -> object:
    number, unit, zone = payload
    at: Any = pd.Timestamp(np.datetime64(number, unit))
    return at if zone is None else at.tz_localize("UTC").tz_convert(read.value(zone))


def _timedelta(value: Any, _write: Writer) -> Json:
    return {"$pandas.timedelta": [int(value.asm8.astype("i8")), value.unit]}


def _read_timedelta(payload: Json, _read: Reader) -> object:
    return pd.Timedelta(np.timedelta64(*payload))


def _period(value: Any, _write: Writer) -> Json:
    return {"$pandas.period": [value.ordinal, value.freqstr]}


def _interval(value: Any, write: Writer) -> Json:
    return {"$pandas.interval": [write.tree(value.left), write.tree(value.right), value.closed]}


_ENCODERS: dict[type, Encoder] = {
    pd.DataFrame: _frame,
    pd.Series: _series,
    pd.Timestamp: _timestamp,
    pd.Timedelta: _timedelta,
    pd.Period: _period,
    pd.Interval: _interval,
    type(pd.NaT): lambda _value, _write: {"$pandas.missing": "NaT"},
    type(pd.NA): lambda _value, _write: {"$pandas.missing": "NA"},
    **{
        cls: lambda value, write: {"$pandas.index": _index(value, write)}
        for cls in (
            pd.Index,
            pd.RangeIndex,
            pd.MultiIndex,
            pd.DatetimeIndex,
            pd.TimedeltaIndex,
            pd.PeriodIndex,
            pd.IntervalIndex,
            pd.CategoricalIndex,
        )
    },
}

DECODERS: dict[str, Decoder] = {
    "pandas.frame": _read_frame,
    "pandas.series": _read_series,
    "pandas.index": _read_index_data,
    "pandas.timestamp": _read_timestamp,
    "pandas.timedelta": _read_timedelta,
    "pandas.period": lambda payload, _read: pd.Period(ordinal=payload[0], freq=payload[1]),
    "pandas.interval": lambda payload, read: pd.Interval(read.value(payload[0]), read.value(payload[1]), payload[2]),
    "pandas.missing": lambda payload, _read: {"NaT": pd.NaT, "NA": pd.NA}[payload],
}
