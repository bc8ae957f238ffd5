"""Blobs in S3, GCS, Azure or memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from kitaru.core.clock import Microseconds, to_microseconds
from kitaru.core.ports import StoredBlob
from kitaru.errors import KitaruNotFoundError, KitaruStoreError
from kitaru.values.blob_content import PAGE, USERS, User, absent, checked, is_digest

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

_REQUESTS_AT_ONCE = 16


class ObjectBlobs:
    """Blobs in S3, GCS, Azure or memory, through obstore. A put is durable once the service has answered.

    When a blob was put is told by the service. It has no locks: a blob that is put again between ``remove``'s
    look at its time and its removal, the time of one request, is lost.
    """

    def __init__(self, url: str, user: User | None = None) -> None:
        # Only here: with a local folder nobody should pay for what is not used.
        from obstore import exceptions  # noqa: PLC0415
        from obstore.store import from_url  # noqa: PLC0415

        self._url = url
        self._user = user
        # The object store reports a missing or forbidden object as Python's own OSErrors.
        self._errors = (exceptions.BaseError, OSError)
        try:
            self._store: ObjectStore = from_url("memory:///" if url.startswith("memory:") else url)
        except (*self._errors, ValueError) as error:
            raise KitaruStoreError(f"Cannot open the artifact store {url}: {_first_line(error)}.") from error

    def put(self, digest: str, data: bytes) -> None:
        try:
            self._store.put(_key(digest), data)
            user = None if self._user is None else self._user()
            if user is not None:
                self._store.put(f"{USERS}/{user}", b"")
                self._user = None  # once is enough
        except self._errors as error:
            raise self._failed(f"write blob {digest} to", error) from error

    def get(self, digest: str) -> bytes:
        try:
            data = bytes(self._store.get(_key(digest)).bytes())
        except FileNotFoundError:
            raise absent(digest, self._url) from None
        except self._errors as error:
            raise self._failed(f"read blob {digest} from", error) from error
        return checked(digest, data, f"blob {digest} in {self._url}")

    def keep(self, digests: Iterable[str]) -> set[str]:
        """See ``Blobs.keep``. Written again: a copy of an object onto itself is refused by S3."""
        wanted = list(digests)
        if not wanted:
            return set()
        with ThreadPoolExecutor(min(_REQUESTS_AT_ONCE, len(wanted))) as pool:
            return {digest for digest, kept in zip(wanted, pool.map(self._keep, wanted), strict=True) if not kept}

    def _keep(self, digest: str) -> bool:
        try:
            self.put(digest, self.get(digest))
        except KitaruNotFoundError:
            return False
        return True

    def put_before(self, at: Microseconds) -> Iterator[list[StoredBlob]]:
        try:
            for objects in self._list(None):
                page: list[StoredBlob] = []
                for found in objects:
                    name = found["path"].rpartition("/")[2]
                    if is_digest(name) and to_microseconds(found["last_modified"]) < at:
                        page.append(StoredBlob(name, found["size"]))
                if page:
                    yield page
        except self._errors as error:
            raise self._failed("list", error) from error

    def remove(self, name: str, *, put_before: Microseconds) -> bool:
        try:
            if to_microseconds(self._store.head(_key(name))["last_modified"]) >= put_before:
                return False
            self._store.delete(_key(name))
        except FileNotFoundError:
            return False
        except self._errors as error:
            raise self._failed(f"remove blob {name} from", error) from error
        return True

    def users(self) -> set[str]:
        try:
            found = [item["path"] for objects in self._list(USERS) for item in objects]
        except self._errors as error:
            raise self._failed("list", error) from error
        return {path.rpartition("/")[2] for path in found}

    def _list(self, prefix: str | None) -> Iterable[Sequence[ObjectMeta]]:
        return self._store.list(prefix, chunk_size=PAGE)  # pyright: ignore[reportUnknownMemberType]  # of Arrow

    def _failed(self, what: str, error: Exception) -> KitaruStoreError:
        return KitaruStoreError(
            f"Cannot {what} {self._url}: {_first_line(error)}. Check the credentials and the network."
        )


def _key(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
