"""S4.1: NumPy, pandas, polars, Arrow and Pillow, with the real libraries."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from kitaru.errors import KitaruSerializationError
from kitaru.values import ValueCodec

STRUCT = np.dtype([("a", "i4"), ("b", "U3")])

NUMPY: list[Any] = [
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(10)[::3],
    np.array(5),
    np.array([]),
    np.zeros((0, 3), dtype="f4"),
    np.array(["2024"], dtype="M8[D]"),
    np.zeros(2, dtype=STRUCT),
    np.zeros(5000),
    np.array(["a", "bc"]),
    np.array([1, 2], dtype=">i4"),
    np.array([True]),
    np.array([float("nan"), 1]),
    np.float64(1.5),
    np.float32(0.1),
    np.float16(0.1),
    np.longdouble("1.1"),
    np.int64(3),
    np.longlong(3),
    np.uint8(3),
    np.bool_(True),
    np.str_("ab\0"),
    np.str_(""),
    np.bytes_(b"a\0"),
    np.datetime64("2024-01-01"),
    np.datetime64("NaT", "s"),
    np.timedelta64(5, "ms"),
    np.complex64(1 + 2j),
    np.zeros(2, dtype=STRUCT)[0],
    np.float64("inf"),
]

FRAME = pd.DataFrame(
    {
        "int": [1, 2],
        "text": ["x", None],
        "float": [1.5, float("nan")],
        "category": pd.Categorical(["u", "v"], categories=["v", "u", "w"], ordered=True),
        "zoned": pd.to_datetime(["2024-01-01", "2024-07-01"]).tz_localize("Europe/Berlin"),
        "Int": pd.array([1, None], dtype="Int64"),
        "Bool": pd.array([True, None], dtype="boolean"),
        "Float": pd.array([1.5, None], dtype="Float64"),
        "objects": pd.Series([{"k": 1}, (1, [2])], dtype=object),
        "strings as objects": pd.Series(["p", None], dtype=object),
        "period": pd.period_range("2024-01", periods=2, freq="M"),
        "interval": pd.interval_range(0, 2),
        "string": pd.array(["s", None], dtype="string[python]"),
        "arrow": pd.array([1.5, None], dtype="double[pyarrow]"),
        "delta": pd.to_timedelta([1, 2], unit="s"),
        ("a", 1): [pd.Timestamp("2024"), pd.NaT],
    }
)
FRAME.attrs["source"] = ("a", 1)

PANDAS: list[Any] = [
    FRAME,
    FRAME["category"],
    FRAME["zoned"],
    FRAME["objects"],
    FRAME.set_index(["int", "string"]),
    FRAME[["int"]].T,
    pd.DataFrame(),
    pd.DataFrame(index=[1, 2]),
    pd.DataFrame(columns=["a"]),
    pd.DataFrame({"a": range(5000)}),
    pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"], index=[0, 0]),
    pd.Series([1, 2], name=("t", 1)),
    pd.Series([], dtype="f4"),
    pd.date_range("2024", periods=3, freq="D", name="d"),
    pd.date_range("2024", periods=3, freq="h", tz="UTC"),
    pd.Index(["a", "b"]),
    pd.Index([1, 2.5, "x"], name=("t", 1)),
    pd.MultiIndex.from_product([[1, 2], ["a", "b"]], names=["x", None]),
    pd.RangeIndex(3, name="r"),
    pd.CategoricalIndex(["a", "b"]),
    pd.interval_range(0, 3),
    pd.period_range("2024", periods=2, freq="D"),
    pd.TimedeltaIndex(["1s"]),
    pd.Timestamp("2024-01-01 00:00:00.000000001"),
    pd.Timestamp("2024-10-27 01:30", tz="UTC").tz_convert("Europe/Berlin"),
    pd.Timestamp("2024", tz=dt.UTC),
    pd.Timestamp("2024").as_unit("s"),
    pd.Timedelta("1ns"),
    pd.Period("2024-01", "M"),
    pd.Interval(0, 1.5, closed="both"),
    pd.NaT,
    pd.NA,
]

POLARS: list[Any] = [
    pl.DataFrame(
        {
            "int": [1, None],
            "text": ["x", "y"],
            "list": [[1], [2, 3]],
            "at": [dt.datetime(2024, 1, 1), None],
            "category": pl.Series(["a", "b"], dtype=pl.Categorical),
            "enum": pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])),
            "struct": [{"x": 1}, {"x": 2}],
            "float": [float("nan"), 1.0],
            "bytes": [b"a", None],
        }
    ),
    pl.Series("s", [1, 2, 3]),
    pl.Series("", ["a"]),
    pl.DataFrame(),
    pl.DataFrame({"a": range(5000)}),
    pl.DataFrame({"a": range(10)}).slice(3, 4),
    pl.DataFrame({"a": [1, None, 3], "s": ["x", None, "z"]}).fill_null(0).fill_null("q"),
    pl.DataFrame({"a": [{"x": [1, None], "y": "k" * 40}, {"x": None, "y": None}]}).slice(1, 1),
    pl.concat([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]})], rechunk=False),
]

ARROW: list[Any] = [
    pa.table({"a": [1, None], "b": ["x", "y"], "n": [float("nan"), 2.0]}),
    pa.table({}),
    pa.table({"a": []}),
    pa.table({"a": [1]}).replace_schema_metadata({"k": "v"}),
    pa.concat_tables([pa.table({"a": [1]}), pa.table({"a": [2]})]),
    pa.record_batch({"a": [1]}),
    pa.record_batch({"a": []}),
    pa.array([1, None]),
    pa.array(["a"]),
    pa.array([], type=pa.int8()),
    pa.array([1, 2, 3])[1:],
    pa.array(["a", "b", "a"]).dictionary_encode(),
    pa.array([{"x": [1]}]),
    pa.chunked_array([[1], [2]]),
    pa.chunked_array([], type=pa.int8()),
    pa.array(range(5000)),
]


def _palette() -> Image.Image:
    return Image.radial_gradient("L").convert("P", palette=Image.Palette.ADAPTIVE)


def _with_info() -> Image.Image:
    image = Image.new("RGB", (4, 3), (1, 2, 3))
    image.info["dpi"] = (72, 72)
    return image


PILLOW: list[Any] = [
    *(
        Image.effect_noise((300, 200), 50).convert(mode)
        for mode in ("1", "L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "F", "I", "HSV")
    ),
    Image.new("I;16", (2, 2), 700),
    Image.new("P", (4, 3)),
    _palette(),
    _with_info(),
    Image.new("RGB", (0, 0)),
    Image.new("L", (9, 1), 7),
]


def _same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True, check_freq=True)
        assert a.attrs == b.attrs
        for name in ("objects", "strings as objects"):
            if name in a:
                assert [(type(x), x) for x in a[name]] == [(type(x), x) for x in b[name]]
    elif isinstance(a, pd.Series):
        pd.testing.assert_series_equal(a, b, check_exact=True)
    elif isinstance(a, pd.Index):
        pd.testing.assert_index_equal(a, b, exact=True)
        assert getattr(a, "freq", None) == getattr(b, "freq", None)
    elif isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, pl.DataFrame | pl.Series):
        assert a.equals(b)
        assert getattr(a, "schema", a.name if isinstance(a, pl.Series) else None) == getattr(
            b, "schema", getattr(b, "name", None)
        )
    elif isinstance(a, pa.Table):
        assert a.schema.equals(b.schema, check_metadata=True)
        assert str(a.to_pylist()) == str(b.to_pylist())  # nan differs from nan
    elif a is pd.NA or a is pd.NaT or a != a:
        assert repr(a) == repr(b)
    else:
        assert a == b
        assert getattr(a, "unit", None) == getattr(b, "unit", None)
        assert str(getattr(a, "tzinfo", None)) == str(getattr(b, "tzinfo", None))


@pytest.mark.parametrize(
    "value",
    [*NUMPY, *PANDAS, *POLARS, *ARROW, *PILLOW],
    ids=lambda value: f"{type(value).__module__}.{type(value).__name__}",
)
def test_s4_1_values_of_libraries_come_back(values: ValueCodec, value: object) -> None:
    text = values.encode({"v": [value]}, "result")
    again: Any = values.decode(text)
    _same(value, again["v"][0])
    # What was read back has the same digest (S3.1), or a resumed run would not find its own records.
    assert values.encode(again, "result") == text


def test_an_array_that_came_back_can_be_written_to(values: ValueCodec) -> None:
    again: Any = values.decode(values.encode(np.zeros(5000), "result"))
    again[0] = 1
    assert again[0] == 1


def test_equal_tables_have_equal_forms_however_they_are_chunked(values: ValueCodec) -> None:
    whole = pa.table({"a": [1, 2]})
    parts = pa.concat_tables([pa.table({"a": [1]}), pa.table({"a": [2]})])
    assert values.encode(whole, "r") == values.encode(parts, "r")
    assert values.encode(np.arange(6).reshape(2, 3), "r") == values.encode(
        np.asfortranarray(np.arange(6).reshape(2, 3)), "r"
    )
    frame = pl.DataFrame({"a": range(10)}).slice(3, 4)
    assert values.encode(frame, "r") == values.encode(pl.DataFrame({"a": range(3, 7)}), "r")


def test_an_image_is_kept_as_a_file_that_people_can_open(values: ValueCodec, folder: Any) -> None:
    values.encode(Image.effect_noise((300, 200), 50), "result")
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    with Image.open(path) as image:
        assert image.size == (300, 200)


class SubArray(np.ndarray):
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": np.array([object()])}, r'result\["a"\] cannot be recorded exactly: an array of dtype object'),
        (np.zeros(3).view(SubArray), "SubArray"),
        (np.ma.array([1]), "MaskedArray"),
        (np.rec.array([(1,)], dtype=[("a", "i4")]).view(np.ndarray), "dtype"),
        (pd.DataFrame({"a": [1], "b": pd.Series([object()])}), r'result\["b"\]\[0\]'),
        (pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), r'result\["a"\].*Sparse'),
        (pl.Series([object()], dtype=pl.Object), "Arrow IPC"),
        (pl.LazyFrame({"a": [1]}), "LazyFrame"),
        (pa.scalar(1), "Int64Scalar"),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_s4_2_what_is_not_exact_is_refused(values: ValueCodec, value: object, message: str) -> None:
    with pytest.raises(KitaruSerializationError, match=message):
        values.encode(value, "result")


def test_s4_2_an_image_that_belongs_to_a_file(values: ValueCodec, tmp_path: Any) -> None:
    Image.new("L", (1, 1)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        with pytest.raises(KitaruSerializationError, match=r"Record image.copy\(\)"):
            values.encode(image, "result")
        values.encode(image.copy(), "result")
