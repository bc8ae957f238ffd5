"""Options of the decorators and of ``run``: what looks like a value and is none is refused at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kitaru import KitaruUsageError, Retry, checkpoint, configure, flow


def work(x: int = 1) -> int:
    return x


@flow
def job(x: int = 1) -> int:
    return x


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "checkpoint cache": (lambda: checkpoint(cache="no")(work), "cache='no': True or False"),
    "checkpoint timeout": (lambda: checkpoint(timeout="5")(work), "timeout='5': seconds"),
    "checkpoint timeout bool": (lambda: checkpoint(timeout=True)(work), "timeout=True: seconds"),
    "checkpoint name": (lambda: checkpoint(name=3)(work), "name=3: a string"),
    "checkpoint type": (lambda: checkpoint(type=3)(work), "type=3: a string"),
    "key": (lambda: checkpoint(work).with_options(key=3), "key=3: a string"),
    "with_options cache": (lambda: checkpoint(work).with_options(cache=0), "cache=0: True or False"),
    "flow cache": (lambda: flow(cache="no")(work), "cache='no': True or False"),
    "run cache": (lambda: job.run(cache="no"), "cache='no': True or False"),
    "configure cache": (lambda: configure(cache="no"), "cache='no': True or False"),
    "retry delay": (lambda: Retry(delay="5"), "delay='5'"),
    "retry backoff": (lambda: Retry(backoff=None), "backoff=None"),
    "retry jitter": (lambda: Retry(jitter="x"), "jitter='x'"),
    "retry max_delay": (lambda: Retry(max_delay="x"), "max_delay='x'"),
    "retry retry_on": (lambda: Retry(retry_on="ValueError"), "retry_on='ValueError'.*an exception type"),
    "retry give_up_on": (lambda: Retry(give_up_on=(ValueError, 3)), "give_up_on=.*: an exception type"),
    "misspelt option": (lambda: job.run(retry=3), "no option 'retry'.*did you mean retries="),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_option_of_the_wrong_type_is_refused_with_its_name_and_value(name: str) -> None:
    act, message = WRONG[name]
    with pytest.raises(KitaruUsageError, match=message):
        act()


def test_an_argument_that_is_near_an_option_goes_to_a_flow_that_takes_any() -> None:
    @flow
    def takes_any(**words: int) -> dict[str, int]:
        return words

    assert takes_any.run(retry=3).wait(timeout=30) == {"retry": 3}
