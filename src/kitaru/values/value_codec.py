"""``ValueCodec``: the ``Values`` port over a blob store (S4, S3.4, and the digests of S3.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from kitaru.core import redaction
from kitaru.core.failure import Failure
from kitaru.core.ports import Blobs, EncodedInputs, NamedBlobs, Redacted
from kitaru.core.rows import Encoded
from kitaru.errors import KitaruSerializationError
from kitaru.values.blob_names import blobs_named_in
from kitaru.values.codecs import decoder_for, encoder_for
from kitaru.values.json_text import LEAF_LIMIT, Json, canonical_text, fits_row, from_text, is_native, to_text
from kitaru.values.plain import plain
from kitaru.values.walk import Reader, Refused, TooDeep, Writer, blob_tree, holds_secret


class ValueCodec:
    """Python values <-> text, exactly. Safe to use from many threads.

    Args:
        blobs: Where large parts go.
        allow_pickle: Carry what nothing else can carry by pickling it, and load such records (S4.2).
            Only for values that nobody else can write: loading a pickle runs code.
    """

    def __init__(self, blobs: Blobs, *, allow_pickle: bool = False) -> None:
        self._blobs = blobs
        self._allow_pickle = allow_pickle

    def encode(self, value: object, where: str) -> Encoded:
        """Encode a value; ``where`` names it in messages. Raises ``KitaruSerializationError`` (S4.2)."""
        text = _short_text(value)
        return self._walked(value, where, self._writer()) if text is None else text

    def encode_redacted(self, value: object, where: str) -> Redacted:
        """Encode a value with the names of secrets in place of their values."""
        text = _short_text(value)
        if text is not None:
            return Redacted(text, frozenset())
        writer = self._writer(redact=True)
        return Redacted(self._walked(value, where, writer), frozenset(writer.redacted))

    def _walked(self, value: object, where: str, writer: Writer) -> Encoded:
        try:
            return self._text_and_tree(value, writer)[0]
        except Refused as refused:
            raise refused.error(where) from refused.__cause__
        except RecursionError as error:
            raise _stack_is_full(f"{where} cannot be recorded") from error

    def decode(self, text: Encoded) -> object:
        """The value again. Raises ``KitaruSerializationError`` where its type or blob is gone."""
        try:
            tree = _parsed(text)
            return self._reader().value(tree) if '"$' in text else tree
        except RecursionError as error:
            raise _stack_is_full("A recorded value cannot be restored") from error

    def encode_inputs(
        self, arguments: Mapping[str, object], *, allow_opaque: bool, redact: bool = False
    ) -> EncodedInputs:
        """Encode named arguments. Without ``allow_opaque`` one that cannot be carried is refused."""
        try:
            if is_native(arguments):
                text = to_text(arguments)
                # Each argument is encoded like a value of its own, so that it shares its blob with an equal output.
                # All of them together are short here, so each one is as well, and the form is the same.
                if fits_row(text) and (redaction.present is None or not _secrets_in(text)):
                    return EncodedInputs(text, _digest(canonical_text(arguments)), False)
            return self._encode_each(arguments, self._writer(allow_opaque=allow_opaque, redact=redact))
        except RecursionError as error:
            raise _stack_is_full("The arguments cannot be recorded") from error

    def _encode_each(self, arguments: Mapping[str, object], writer: Writer) -> EncodedInputs:
        texts: list[str] = []
        canonical: dict[str, Json] = {}
        for name, argument in arguments.items():
            text, tree = self._input(name, argument, writer)
            texts.append(f"{to_text(name)}:{text}")
            canonical[name] = tree
        opaque = writer.opaque or bool(writer.redacted)
        return EncodedInputs(f"{{{','.join(texts)}}}", _digest(canonical_text(canonical)), opaque)

    def plain(self, text: Encoded) -> Json:
        """The value as plain JSON data, for eyes; see ``kitaru.values.plain``."""
        tree = _parsed(text)
        return plain(tree, self._blobs) if '"$' in text else tree

    def decode_inputs(self, text: Encoded) -> dict[str, object]:
        """The arguments again; opaque ones as ``Opaque`` tokens."""
        return {name: self.decode(argument) for name, argument in self.split_inputs(text).items()}

    def split_inputs(self, text: Encoded) -> dict[str, Encoded]:
        """Each argument's own encoded text, without decoding."""
        return {name: to_text(tree) for name, tree in _parsed(text).items()}

    def _input(self, name: str, argument: object, writer: Writer) -> tuple[Encoded, Json]:
        """The text of an argument, and the tree that its digest counts."""
        try:
            text, tree = self._text_and_tree(argument, writer)
        except TooDeep as refused:
            if not writer.allow_opaque:
                raise refused.error(f"argument {name}") from refused.__cause__
            tree = writer.token(argument)
            text = to_text(tree)
        except Refused as refused:
            raise refused.error(f"argument {name}") from refused.__cause__
        return text, tree

    def _text_and_tree(self, value: object, writer: Writer) -> tuple[Encoded, Json]:
        """The text of a whole value, and the tree that its digest counts."""
        tree = value if redaction.present is None and is_native(value) else writer.tree(value)
        text = to_text(tree)
        if left := _secrets_in(text):
            raise Refused(holds_secret(left, "It cannot be taken out of a value of this type: do that first."))
        try:
            data = text.encode()
        except UnicodeEncodeError:  # lone surrogates: the walk tags the strings that have them
            tree = writer.tree(value)
            text = to_text(tree)
            data = text.encode()
        if len(data) <= LEAF_LIMIT:
            return text, tree
        blob = writer.blob("json", data)
        # The blob has its dicts in their own order; what counts is the content in canonical order.
        canonical = canonical_text(tree).encode()
        counted = blob if canonical == data else blob_tree("json", hashlib.sha256(canonical).hexdigest(), len(data))
        return to_text(blob), counted

    def encode_exception(self, error: BaseException) -> Encoded | None:
        """Encode an exception as well as can be (S2.5); None where it could not be made again."""
        writer = self._writer(lenient=True, redact=True)
        try:
            return self._text_and_tree(error, writer)[0]
        except (Refused, RecursionError):
            return None

    def decode_exception(self, failure: Failure) -> BaseException | None:
        """The exception of a failure, to be raised again; None where it cannot be made."""
        if failure.exception is None:
            return None
        try:
            error = self.decode(failure.exception)
        except KitaruSerializationError:  # its class has moved or changed; the failure's own text tells the rest
            return None
        return error if isinstance(error, BaseException) else None

    def blobs_in(self, texts: Iterable[Encoded]) -> NamedBlobs:
        """The blobs that encoded values name, and those that these name."""
        return blobs_named_in(texts, self._blobs)

    def keep(self, texts: Iterable[Encoded]) -> bool:
        """Count the blobs that texts name as put now; False where one is absent."""
        named = self.blobs_in(texts)
        return not (named.unread or (named.digests and self._blobs.keep(named.digests)))

    def _writer(self, *, allow_opaque: bool = False, lenient: bool = False, redact: bool = False) -> Writer:
        return Writer(
            encoder_for,
            self._blobs,
            allow_opaque=allow_opaque,
            allow_pickle=self._allow_pickle,
            lenient=lenient,
            redact=redact,
        )

    def _reader(self) -> Reader:
        return Reader(decoder_for, self._blobs, allow_pickle=self._allow_pickle)


def _short_text(value: object) -> Encoded | None:
    """The text of a value that is its own tree, is short and holds no secret. The hot path."""
    try:
        if is_native(value):
            text = to_text(value)
            if fits_row(text) and (redaction.present is None or not _secrets_in(text)):
                return text
    except RecursionError:  # the walk will come to it too, and tell
        pass
    return None


def _secrets_in(text: str) -> frozenset[str]:
    known = redaction.present
    return frozenset() if known is None else known.names_in(text)


def _stack_is_full(what: str) -> KitaruSerializationError:
    return KitaruSerializationError(f"{what}: it is nested too deeply for this call stack. Record a flatter value.")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _parsed(text: Encoded) -> Json:
    try:
        return from_text(text)
    except ValueError as error:
        raise KitaruSerializationError(f"A recorded value is damaged ({error}): {text[:80]!r}.") from error
