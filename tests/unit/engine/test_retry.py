"""S2.4: the retry policy. Pure."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitaru.core.retry import Retry, check_retries
from kitaru.errors import KitaruUsageError

chances = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 20), st.integers(1, 25))
def test_s2_4_attempts_counts_the_first(attempts: int, attempt: int) -> None:
    assert Retry(attempts=attempts).wants(ValueError(), attempt) is (attempt < attempts)


@given(st.floats(0, 100), st.floats(1, 4), st.integers(1, 10))
def test_s2_4_without_jitter_the_pause_grows_by_the_factor(delay: float, backoff: float, attempt: int) -> None:
    pause = Retry(delay=delay, backoff=backoff).pause(attempt, 0.99)
    assert math.isclose(pause, delay * backoff ** (attempt - 1))


@given(st.floats(0, 100), st.floats(0, 1), chances, st.integers(1, 10), st.floats(0, 50))
def test_s2_4_jitter_only_shortens_and_the_longest_pause_bounds(
    delay: float, jitter: float, chance: float, attempt: int, longest: float
) -> None:
    full = Retry(delay=delay, max_delay=longest).pause(attempt, 0)
    pause = Retry(delay=delay, max_delay=longest, jitter=jitter).pause(attempt, chance)
    assert full * (1 - jitter) <= pause or math.isclose(full * (1 - jitter), pause, abs_tol=1e-300)
    assert 0 <= pause <= full <= longest


def test_s2_4_a_huge_number_of_attempts_has_a_pause_still() -> None:
    assert Retry(attempts=10_000, delay=1, max_delay=60).pause(9_999, 0) == 60
    assert Retry(attempts=10_000).pause(9_999, 0) == 0
    assert Retry(attempts=10_000, delay=1).pause(9_999, 0) <= threading.TIMEOUT_MAX


@pytest.mark.parametrize(
    ("policy", "error", "again"),
    [
        (Retry(), ValueError(), True),
        (Retry(retry_on=OSError), ConnectionError(), True),
        (Retry(retry_on=OSError), ValueError(), False),
        (Retry(retry_on=(OSError, ValueError)), ValueError(), True),
        (Retry(give_up_on=ConnectionError), ConnectionError(), False),
        (Retry(give_up_on=ConnectionError), OSError(), True),
        (Retry(retry_on=OSError, give_up_on=ConnectionError), ConnectionResetError(), False),
        (Retry(retry_on=()), ValueError(), False),
    ],
)
def test_s2_4_retry_on_and_give_up_on(policy: Retry, error: Exception, again: bool) -> None:
    assert policy.wants(error, 1) is again


@pytest.mark.parametrize("wrong", [-1, 1.0, True, "1", None])
def test_s2_4_retries_must_be_a_count(wrong: object) -> None:
    with pytest.raises(KitaruUsageError, match=r"@flow agent: retries="):
        check_retries(wrong, "@flow agent")


def test_s2_4_a_count_is_given_back() -> None:
    assert [check_retries(count, "x") for count in (0, 7)] == [0, 7]
