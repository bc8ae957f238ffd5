"""The two walks: ``Writer`` turns a value into a tree of JSON, ``Reader`` turns the tree into the value.

A value that JSON cannot express is a dict with one key, its tag: ``{"$tuple": [1, 2]}``. Since a user's
dict with such a key is written as ``{"$dict": [[key, value], ...]}``, tags cannot be confused with data.
"""

from __future__ import annotations

import base64
import hashlib
import pickle
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from kitaru.core import redaction
from kitaru.core.ports import Blobs
from kitaru.core.references import reference_of, resolve
from kitaru.errors import KitaruError, KitaruNotFoundError, KitaruSerializationError
from kitaru.values.json_text import LEAF_LIMIT, MAX_DEPTH, Json, canonical_text, from_text

_FREE_BYTES = ("str", "bytes", "bytearray")
"""Tags whose bytes mean nothing to their decoder, so that a secret in them can be replaced."""


class Step(Enum):
    """How a part hangs in its whole; the value is how a message writes it."""

    ITEM = "[{}]"
    ATTRIBUTE = ".{}"
    KEY = " key {}"
    ELEMENT = " element {}"


class Refused(Exception):
    """A part cannot be carried exactly. The steps to it are gathered while the walk unwinds."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pickling_failed = False
        self.steps: list[tuple[Step, object, object]] = []

    def error(self, where: str) -> KitaruSerializationError:
        """What the user sees: the path from ``where``, and the reason with its remedy."""
        path = "".join(step.value.format(_shown(key, step)) for step, key, _ in reversed(self.steps))
        return KitaruSerializationError(f"{where}{path} cannot be recorded exactly: {self.reason}")


class TooDeep(Refused):
    """Nested without end, or too deeply. Of its own type because no part of the value can stand for it."""

    def error(self, where: str) -> KitaruSerializationError:
        wholes = [id(whole) for _, _, whole in reversed(self.steps)]
        again = next((n for n, whole in enumerate(wholes) if whole in wholes[:n]), None)
        if again is None:
            self.steps.clear()
        else:
            self.steps = self.steps[len(wholes) - again :]
            self.reason = "it contains itself. Record ids instead of references to the whole."
        return super().error(where)


def _shown(key: object, step: Step) -> str:
    if step is Step.ATTRIBUTE:
        return str(key)
    text = f'"{key}"' if type(key) is str else repr(key)
    return text if len(text) <= 80 else f"{text[:77]}..."


def holds_secret(names: Iterable[str], remedy: str) -> str:
    """The reason of a refusal: which secrets a value holds, without their values."""
    return f"it holds the value of secret {', '.join(sorted(names))}. {remedy}"


class Leaf(NamedTuple):
    """Decodes a tag whose payload is bytes: base64 in the text, or the blob itself."""

    decode: Callable[[bytes], object]


class Writer:
    """Turns one value into a tree. Blobs are on disk when it returns.

    Attributes:
        allow_opaque: A part that cannot be carried becomes a token of its type (S3.4).
        allow_pickle: A part that nothing else carries is pickled (S4.2).
        lenient: Exceptions are carried as well as can be (S2.5), not exactly.
        redact: The name of a secret takes the place of its value. Otherwise a value that holds one is refused.
        opaque: True once there is a token.
        redacted: The names of the secrets that were taken out.
    """

    def __init__(
        self,
        encoder_for: EncoderFor,
        blobs: Blobs,
        *,
        allow_opaque: bool = False,
        allow_pickle: bool = False,
        lenient: bool = False,
        redact: bool = False,
    ) -> None:
        self._encoder_for = encoder_for
        self._blobs = blobs
        self._depth = 0
        self.allow_opaque = allow_opaque
        self.allow_pickle = allow_pickle
        self.lenient = lenient
        self.redact = redact
        self.opaque = False
        self.redacted: set[str] = set()

    def tree(self, value: object) -> Json:
        """The tree of a value. Raises ``Refused``."""
        if self._depth > MAX_DEPTH:
            raise TooDeep(f"it is nested more than {MAX_DEPTH} levels deep. Record a flatter value.")
        self._depth += 1
        try:
            return self._encoder_for(type(value))(value, self)
        except TooDeep:
            raise
        except Refused as refused:
            if self.allow_pickle and not refused.pickling_failed:
                return self._pickle(value, refused)
            if self.allow_opaque:
                return self.token(value)
            raise
        except (KitaruError, RecursionError):
            raise
        # Reading a value runs the value's own code (properties, __getattr__), which may raise anything. None of it
        # may take the place of what is recorded: least of all where that is a failure.
        except Exception as error:
            if self.allow_opaque:
                return self.token(value)
            raise Refused(f"its own code raised {type(error).__name__} while it was read: {error}.") from error
        finally:
            self._depth -= 1

    @property
    def is_nested(self) -> bool:
        """True within a part: the value at hand is not the whole."""
        return self._depth > 1

    def token(self, value: object) -> Json:
        """What stands for a value that cannot be digested: its type (S3.4)."""
        self.opaque = True
        return {"$opaque": reference_of(type(value).__module__, type(value).__qualname__)}

    def _pickle(self, value: object, refused: Refused) -> Json:
        """The tree of a value that nothing else carries, where the user has allowed it (S4.2)."""
        try:
            return self.leaf("pickle", pickle.dumps(value, protocol=5))
        # Pickling runs the value's own code, which may raise anything; the first refusal is the one to tell.
        except Exception as error:
            refused.pickling_failed = True
            refused.reason += f" Pickle cannot carry it either: {error}."
            if self.allow_opaque:
                return self.token(value)
            raise refused from error

    def part(self, whole: object, step: Step, key: object, value: object) -> Json:
        """The tree of a part of ``whole``; ``step`` and ``key`` name it in a refusal."""
        try:
            return self.tree(value)
        except Refused as refused:
            refused.steps.append((step, key, whole))
            raise

    def items(self, whole: object, values: Iterable[object]) -> list[Json]:
        """The trees of the items of a sequence."""
        return [self.part(whole, Step.ITEM, index, value) for index, value in enumerate(values)]

    def elements(self, whole: Iterable[object]) -> list[Json]:
        """The trees of the elements of a set, in an order that depends on nothing but them."""
        return sorted((self.part(whole, Step.ELEMENT, value, value) for value in whole), key=canonical_text)

    def attributes(self, whole: object, state: dict[str, object]) -> dict[str, Json]:
        """The trees of an object's attributes."""
        return {name: self.part(whole, Step.ATTRIBUTE, name, value) for name, value in state.items()}

    def leaf(self, tag: str, data: bytes) -> Json:
        """Bytes under a tag whose decoder is a ``Leaf``; a blob where they are many (S4.4)."""
        if redaction.present is not None:
            data = self._bytes_without_secrets(tag, data)
        if len(data) > LEAF_LIMIT:
            return self.blob(tag, data)
        return {f"${tag}": base64.b64encode(data).decode("ascii")}

    def without_secrets(self, text: str) -> str:
        """The text as it may be recorded. Raises ``Refused`` where it holds a secret that must not be taken out."""
        known = redaction.present
        found = None if known is None else known.names_in(text)
        if known is None or not found:
            return text
        self._take_out(found)
        return known.redact(text)

    def _bytes_without_secrets(self, tag: str, data: bytes) -> bytes:
        known = redaction.present
        found = None if known is None else known.names_in_bytes(data)
        if known is None or not found:
            return data
        self._take_out(found)
        if tag not in _FREE_BYTES:
            raise Refused(holds_secret(found, f"A {tag} cannot be changed: take it out first."))
        return known.redact_bytes(data)

    def _take_out(self, names: frozenset[str]) -> None:
        if not self.redact:
            remedy = f"Give the name instead, and call kitaru.secret({min(names)!r}) where the value is used."
            raise Refused(holds_secret(names, remedy))
        self.redacted |= names

    def blob(self, codec: str, data: bytes) -> Json:
        """Put bytes into the blob store; the tree is their address."""
        digest = hashlib.sha256(data).hexdigest()
        self._blobs.put(digest, data)
        return blob_tree(codec, digest, len(data))


def blob_tree(codec: str, digest: str, size: int) -> Json:
    """How a tree refers to a blob."""
    return {"$blob": {"codec": codec, "digest": digest, "size": size}}


class Reader:
    """Turns one tree into the value. Changes the tree: it is used once."""

    def __init__(self, decoder_for: DecoderFor, blobs: Blobs, *, allow_pickle: bool = False) -> None:
        self._decoder_for = decoder_for
        self._blobs = blobs
        self._resolved: dict[str, object] = {}
        self.allow_pickle = allow_pickle

    def value(self, tree: Json) -> Any:
        """The value of a tree. Raises ``KitaruSerializationError`` where a type or a blob is gone."""
        cls = type(tree)  # pyright: ignore[reportUnknownVariableType]  # of Any
        if cls is dict:
            if len(tree) == 1:
                ((key, payload),) = tree.items()
                if key[:1] == "$":
                    return self._tagged(key[1:], payload)
            for key, item in tree.items():
                if type(item) is dict or type(item) is list:
                    tree[key] = self.value(item)
        elif cls is list:
            for index, item in enumerate(tree):
                if type(item) is dict or type(item) is list:
                    tree[index] = self.value(item)
        return tree

    def resolve(self, reference: str) -> Any:
        """The class or function of a reference."""
        if reference not in self._resolved:
            self._resolved[reference] = resolve(reference)
        return self._resolved[reference]

    def _tagged(self, tag: str, payload: Json) -> object:
        try:
            if tag == "blob":
                return self._blob(payload)
            decode = self._decoder(tag)
            if isinstance(decode, Leaf):
                return decode.decode(base64.b64decode(payload))
            return decode(payload, self)
        except KitaruNotFoundError as error:
            raise KitaruSerializationError(f"A recorded value cannot be restored: {error}") from error
        except KitaruError:
            raise
        # Decoders call users' classes and optional libraries: whatever they raise, the record is at fault or
        # the code has changed, and the caller learns which type it was.
        except Exception as error:
            raise KitaruSerializationError(
                f"A recorded value ({tag} {_shown(payload, Step.ITEM)}) cannot be restored: "
                f"{type(error).__name__}: {error}. Restore the code and the libraries that it was recorded with."
            ) from error

    def _decoder(self, tag: str) -> Decoder:
        if tag == "pickle" and not self.allow_pickle:
            raise KitaruSerializationError(
                "A recorded value was pickled, and pickles are not loaded here: loading one runs code. "
                "Set allow_pickle = true under [tool.kitaru] if you trust what is in the store."
            )
        return self._decoder_for(tag)

    def _blob(self, reference: Json) -> object:
        codec, size = reference["codec"], reference["size"]
        data = self._blobs.get(reference["digest"])
        if len(data) != size:
            raise KitaruSerializationError(
                f"Blob {reference['digest']} has {len(data)} bytes instead of {size}: it is damaged. "
                "Restore it from a copy, or run the checkpoint again."
            )
        if codec == "json":
            return self.value(from_text(data.decode()))
        decode = self._decoder(codec)
        if not isinstance(decode, Leaf):
            raise KitaruSerializationError(f"Blob {reference['digest']} has the unknown codec {codec!r}.")
        return decode.decode(data)


Encoder: TypeAlias = Callable[[Any, Writer], Json]
"""Makes the tree of a value of one type."""

Decoder: TypeAlias = Callable[[Any, Reader], object] | Leaf
"""Makes the value of a tag's payload."""


EncoderFor: TypeAlias = Callable[[type], Encoder]
"""Finds the encoder of an exact type. Raises ``Refused`` where there is none."""

DecoderFor: TypeAlias = Callable[[str], Decoder]
"""Finds the decoder of a tag. Raises ``KitaruSerializationError`` where there is none."""
