"""The ``Stacks`` port."""

from __future__ import annotations

import pytest

from kitaru.core.ports import Store
from kitaru.core.rows import StackRow
from kitaru.core.states import Status
from tests.contract.stores import START, create, execution

MINE = StackRow("mine", "process", None, START, '{"restarts": 2}')


def test_a_stack_comes_back_as_it_was_created(store: Store) -> None:
    assert store.stacks.create(MINE)
    assert store.stacks.get("mine") == MINE
    assert store.stacks.get("other") is None


def test_stacks_are_listed_by_name(store: Store) -> None:
    for name in ("b", "c", "a"):
        store.stacks.create(MINE._replace(name=name))
    assert [row.name for row in store.stacks.list()] == ["a", "b", "c"]


def test_a_name_is_taken_once(store: Store) -> None:
    assert store.stacks.create(MINE)
    assert not store.stacks.create(MINE._replace(kind="other"))
    assert store.stacks.get("mine") == MINE


def test_one_stack_is_active_or_none(store: Store) -> None:
    assert store.stacks.active() is None
    for name in ("a", "b"):
        store.stacks.create(MINE._replace(name=name))
        assert store.stacks.use(name)
        assert store.stacks.active() == name
    assert store.stacks.use(None)
    assert store.stacks.active() is None


def test_a_stack_that_does_not_exist_cannot_be_used(store: Store) -> None:
    store.stacks.create(MINE)
    store.stacks.use("mine")
    assert not store.stacks.use("other")
    assert store.stacks.active() == "mine"


def test_a_stack_that_nobody_needs_can_be_deleted_once(store: Store) -> None:
    store.stacks.create(MINE)
    assert store.stacks.delete("mine")
    assert store.stacks.get("mine") is None
    assert not store.stacks.delete("mine")


def test_the_active_stack_is_not_deleted(store: Store) -> None:
    store.stacks.create(MINE)
    store.stacks.use("mine")
    assert not store.stacks.delete("mine")
    assert store.stacks.get("mine") == MINE


@pytest.mark.parametrize("status", Status)
def test_a_stack_is_deleted_only_where_no_execution_on_it_is_unfinished(store: Store, status: Status) -> None:
    store.stacks.create(MINE)
    create(store, execution("theirs"), execution("exec", stack="mine", status=status))
    assert store.stacks.delete("mine") is status.finished
