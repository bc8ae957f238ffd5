"""Python values <-> text, exactly (S4); digests of inputs (S3.1); blob stores."""

from __future__ import annotations

from kitaru.values.blobs import open_blobs
from kitaru.values.builtin import Opaque
from kitaru.values.codecs import register_codec
from kitaru.values.value_codec import ValueCodec

__all__ = ["Opaque", "ValueCodec", "open_blobs", "register_codec"]
