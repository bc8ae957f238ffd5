"""S3.1, S3.6, S6.7: which call is which. Pure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kitaru.engine.identity import (
    Identity,
    Numbering,
    cache_key,
    child_execution_id,
    idempotency_key,
    keyed_digest,
)

names = st.sampled_from(["work", "work_2", "fetch"])
calls = st.lists(st.tuples(names, st.sampled_from(["d1", "d2"])), max_size=30)


@given(calls)
def test_s3_1_occurrences_count_equal_calls_from_one(made: list[tuple[str, str]]) -> None:
    numbering = Numbering()
    seen: list[tuple[str, str]] = []
    for name, digest in made:
        seen.append((name, digest))
        assert numbering.occurrence(name, digest) == seen.count((name, digest))


@given(calls)
def test_positions_count_all_calls_from_zero(made: list[tuple[str, str]]) -> None:
    numbering = Numbering()
    assert [numbering.position() for _ in made] == list(range(len(made)))


@given(st.lists(names, max_size=30), st.sets(st.sampled_from(["work", "work_2", "work_3", "work_7", "fetch_2"])))
def test_s3_6_ids_are_unique_and_never_one_that_is_recorded(made: list[str], recorded: set[str]) -> None:
    numbering = Numbering(recorded)
    ids = [numbering.call_id(name) for name in made]
    assert len(set(ids)) == len(ids)
    assert recorded.isdisjoint(ids)
    for name, call_id in zip(made, ids, strict=True):
        rest = call_id.removeprefix(name)
        assert rest == "" or (rest[0] == "_" and int(rest[1:]) >= 2)


def test_s3_6_the_first_call_of_a_name_has_the_name_itself_and_the_next_ones_are_counted() -> None:
    numbering = Numbering()
    assert [numbering.call_id("work") for _ in range(3)] == ["work", "work_2", "work_3"]
    assert Numbering(["work", "work_3"]).call_id("work") == "work_2"


def test_s3_1_a_key_is_no_digest() -> None:
    assert keyed_digest("abc") != "abc"
    assert keyed_digest("a") != keyed_digest("b")


@given(st.tuples(names, st.text(), st.integers(1, 3), st.text(), st.text()),
       st.tuples(names, st.text(), st.integers(1, 3), st.text(), st.text()))  # fmt: skip
def test_s3_5_cache_keys_are_equal_only_for_equal_parts(
    one: tuple[str, str, int, str, str], other: tuple[str, str, int, str, str]
) -> None:
    def key(parts: tuple[str, str, int, str, str]) -> str:
        return cache_key(Identity(*parts[:3]), *parts[3:])

    assert (key(one) == key(other)) == (one == other)


def test_s6_7_an_idempotency_key_depends_on_the_execution_and_the_identity_alone() -> None:
    identity = Identity("pay", "digest", 1)
    assert idempotency_key("one", identity) == idempotency_key("one", Identity("pay", "digest", 1))
    others = [
        idempotency_key("two", identity),
        idempotency_key("one", identity._replace(occurrence=2)),
        idempotency_key("one", identity._replace(digest="other")),
        idempotency_key("one", identity._replace(name="refund")),
        child_execution_id("one", "", identity),
    ]
    assert len({idempotency_key("one", identity), *others}) == 6


def test_s1_10_a_childs_id_depends_on_its_parent_its_scope_and_its_identity() -> None:
    identity = Identity("child", "digest", 1)
    assert child_execution_id("one", "", identity) == child_execution_id("one", "", identity)
    assert len({child_execution_id(*parts, identity) for parts in (("one", ""), ("two", ""), ("one", "call"))}) == 3
