"""What type checkers must say about flows and checkpoints. Never run, only read by them.

A line that ends in ``# E: pyright mypy`` must be rejected by both; every other line must be accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_type

from kitaru import checkpoint, flow


@dataclass
class Page:
    url: str


@checkpoint
def fetch(url: str) -> Page:
    return Page(url)


@checkpoint(retries=3, type="tool_call")
def count(page: Page, *, unit: str = "words") -> int:
    return len(page.url) + len(unit)


@checkpoint(limit=["openai", "budget"])
async def ask(prompt: str) -> str:
    return prompt


@flow
def agent(url: str, limit: int = 3) -> list[int]:
    page = fetch(url)
    assert_type(page, Page)
    total = count(page, unit="lines")
    assert_type(total, int)
    fetch(1)  # E: pyright mypy
    fetch()  # E: pyright mypy
    count(page, unit=1)  # E: pyright mypy
    count(page).upper()  # E: pyright mypy

    future = fetch.submit(url)
    assert_type(future.result(), Page)
    assert_type(future.result(timeout=1.5), Page)
    assert_type(future.done(), bool)
    assert_type(future.call_id, str)
    fetch.submit(1)  # E: pyright mypy
    fetch.submit()  # E: pyright mypy
    count.submit(page, unit=1)  # E: pyright mypy
    fetch.submit(url).result().upper()  # E: pyright mypy

    pages = fetch.map([url, url])
    assert_type(pages.result(), list[Page])
    assert_type(pages[0].result(), Page)
    assert_type(count.product([page], unit=["words"]).result(), list[int])

    assert_type(fetch.fn(url), Page)
    assert_type(fetch.with_options(key="a", limit="openai")(url), Page)
    return [total, limit]


@flow(retries=2, cache=False)
async def async_agent(prompt: str) -> str:
    answer = await ask(prompt)
    assert_type(answer, str)
    later = ask.submit(prompt)
    assert_type(await later, str)
    assert_type(await ask.fn(prompt), str)
    await ask(1)  # E: pyright mypy
    ask.submit(1)  # E: pyright mypy
    (await ask(prompt)).append("x")  # E: pyright mypy
    return answer


def start() -> None:
    handle = agent.run(url="https://example.com", stack="local", retries=1, cache=False, image=None)
    assert_type(handle.wait(), list[int])
    assert_type(handle.wait(timeout=1.0), list[int])
    assert_type(handle.get(), list[int])
    assert_type(handle.exec_id, str)
    assert_type(agent.run("https://example.com", 4, execution_id="one", tags=["a"]).wait(), list[int])
    assert_type(agent.run(url="x", priority=3).wait(), list[int])
    assert_type(agent.run("x", tags=["a"], priority=None).wait(), list[int])
    agent.run(url="x", priority="high")  # E: pyright mypy
    agent.run(url=1)  # E: pyright mypy
    agent.run()  # E: pyright mypy
    agent.run(url="x", limit="three")  # E: pyright mypy
    agent.run(url="x", retries="many")  # E: pyright mypy
    agent.run(url="x", nothing=1)  # E: pyright mypy
    agent.run(url="x").wait().upper()  # E: pyright mypy

    assert_type(async_agent.run("Why?").wait(), str)
    async_agent.run(1)  # E: pyright mypy


async def start_async() -> Sequence[int]:
    assert_type(await async_agent.run("Why?"), str)
    return await agent.run(url="x")
