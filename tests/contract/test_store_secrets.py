"""The ``Secrets`` port, on every backend."""

from __future__ import annotations

from kitaru.core.ports import Store
from kitaru.core.rows import SecretRow
from kitaru.store import open_store
from tests.contract.stores import START, ManualClock

BYTES = bytes(range(256))
"""A ciphertext is any bytes, zeros included."""


def test_a_secret_comes_back_as_it_was_given(store: Store) -> None:
    store.secrets.set("project", "TOKEN", BYTES, at=START)
    assert store.secrets.get("project", "TOKEN") == SecretRow("TOKEN", START, BYTES)


def test_setting_it_again_replaces_it(store: Store) -> None:
    store.secrets.set("project", "TOKEN", b"old", at=START)
    store.secrets.set("project", "TOKEN", b"new", at=START + 1)
    assert store.secrets.list("project") == [SecretRow("TOKEN", START + 1, b"new")]


def test_projects_do_not_see_each_other(store: Store) -> None:
    store.secrets.set("project", "TOKEN", b"ours", at=START)
    store.secrets.set("other", "TOKEN", b"theirs", at=START)
    assert store.secrets.delete("other", "TOKEN")
    assert store.secrets.get("other", "TOKEN") is None
    assert store.secrets.list("other") == []
    assert store.secrets.get("project", "TOKEN") == SecretRow("TOKEN", START, b"ours")


def test_the_list_is_by_name(store: Store) -> None:
    for name in ("B", "C", "A"):
        store.secrets.set("project", name, b"x", at=START)
    assert [row.name for row in store.secrets.list("project")] == ["A", "B", "C"]


def test_what_is_not_there_cannot_be_deleted(store: Store) -> None:
    assert store.secrets.get("project", "TOKEN") is None
    assert not store.secrets.delete("project", "TOKEN")
    store.secrets.set("project", "TOKEN", b"x", at=START)
    assert store.secrets.delete("project", "TOKEN")
    assert not store.secrets.delete("project", "TOKEN")


def test_another_process_sees_it(url: str, clock: ManualClock) -> None:
    ours, theirs = open_store(url, clock), open_store(url, clock)
    try:
        ours.secrets.set("project", "TOKEN", BYTES, at=START)
        assert theirs.secrets.get("project", "TOKEN") == SecretRow("TOKEN", START, BYTES)
    finally:
        ours.close()
        theirs.close()
