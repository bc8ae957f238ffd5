"""What PostgreSQL reports, as sentences that say which store, what is wrong and what to do. No password is in them."""

from __future__ import annotations

import re

import psycopg
from psycopg.conninfo import conninfo_to_dict

from kitaru.core.ports import StoreUnavailable
from kitaru.errors import KitaruStoreError, KitaruUsageError
from kitaru.store.database import NotWritten
from kitaru.store.postgres_pipeline import Failed

_AGAIN = frozenset({"40001", "40P01"})  # serialization failure, deadlock: another transaction went first

_PASSING = frozenset({"55", "57"})  # a lock that was held for too long, a statement that took too long
_NO_PLACE = "53300"  # for another connection

_SENTENCES = {
    "53": "cannot take more: {words}. Nothing of this was written. Free what is short on the server and try again.",
    "55": "is locked by another transaction, and stayed so. Find what holds it (pg_stat_activity, pg_locks) and try "
    "again.",
    "57": "gave the statement up: {words}. Nothing of this was written. Find out what keeps the server busy.",
    "42": "cannot be used as it is: {words}. Check that this user may use its tables, and that nothing but Kitaru "
    "changed them.",
    "25": "cannot be written: {words}. Name a server that takes writes with KITARU_STORE.",
}

_ITS_QUESTION = re.compile(r" Is the server running[^?]*\?$")


def name_of(url: str) -> str:
    """The URL without its password, for messages."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise KitaruUsageError(
            f"The store's address is no URL of PostgreSQL ({_words(_without(url, str(error)))}). "
            "Write it as postgresql://user@host:5432/database."
        ) from None
    place = parts.get("host") or "localhost"
    port = f":{parts['port']}" if parts.get("port") else ""
    user = f"{parts['user']}@" if parts.get("user") else ""
    return f"postgresql://{user}{place}{port}/{parts.get('dbname') or ''}"


def _without(url: str, words: str) -> str:
    return words.replace(url, "...") if "@" not in words else "it cannot be read"


def store_error(name: str, error: Failed) -> KitaruStoreError:
    """The error to raise for a statement that the server refused."""
    if error.state in _AGAIN:
        return NotWritten(f"The store {name} was busy with another writer; nothing of this was written. Try again.")
    sentence = _SENTENCES.get(error.state[:2], "answered: {words}. Nothing of this was written.")
    kind = StoreUnavailable if error.state[:2] in _PASSING or error.state == _NO_PLACE else KitaruStoreError
    return kind(f"The store {name} {sentence.format(words=error.message)}")


def unreachable(name: str, error: psycopg.Error) -> KitaruStoreError:
    """The error to raise where no connection can be made."""
    words = _words(str(error))
    state = error.sqlstate or ""
    if state[:2] == "28" or "password" in words or "authentication failed" in words:
        advice = "Check the user and the password in KITARU_STORE, or in the file that PGPASSFILE names."
    elif state == "3D000" or ("database" in words and "does not exist" in words):
        advice = "Make the database first: createdb, or CREATE DATABASE in psql. Kitaru makes its tables in it."
    else:
        advice = "Check that the server runs there and takes connections, or name another store with KITARU_STORE."
    kind = StoreUnavailable if may_pass(error) else KitaruStoreError
    return kind(f"The store {name} cannot be reached: {words}. {advice}")


def _words(text: str) -> str:
    """What libpq says, on one line: it breaks lines, and may end with a question of its own."""
    return _ITS_QUESTION.sub("", " ".join(text.split())).rstrip(".")


def may_pass(error: psycopg.Error) -> bool:
    """True where a server that starts, or has no place just now, is likely: trying again may help."""
    state = error.sqlstate
    return state is None or state[:2] in ("08", "53", "57")


def lost(name: str, words: str) -> NotWritten:
    """The error to raise where a connection broke before anything was committed."""
    return NotWritten(
        f"The connection to the store {name} was lost ({' '.join(words.split())}). Nothing of this was written. "
        "Check the server and try again."
    )


def unknown(name: str, words: str) -> StoreUnavailable:
    """The error to raise where a connection broke while the server was committing."""
    return StoreUnavailable(
        f"The connection to the store {name} was lost while it committed ({' '.join(words.split())}). "
        "What was to be written is either there as a whole or not at all. Look at the execution before you try again."
    )
