"""Versions of flows and their tags (S8.2, S8.3)."""

from __future__ import annotations

import subprocess
import sys

from kitaru.core.clock import SystemClock
from kitaru.core.mutations import Claimed, StatusChanged
from kitaru.core.ports import DeploymentKey, Store
from kitaru.core.rows import TagRow
from kitaru.core.states import Status
from kitaru.store import open_store
from tests.contract.stores import START, commit, create, deployment, execution, runner


def key(version: int, flow: str = "greet") -> DeploymentKey:
    return DeploymentKey("/project", flow, version)


def deploy(store: Store, count: int = 1, flow: str = "greet") -> None:
    for _ in range(count):
        store.deployments.create(deployment(flow), tag=None, exclusive=False)


def tags(store: Store) -> list[tuple[str, int, bool]]:
    return [tuple(one) for one in store.deployments.tags("/project", "greet")]


def test_s8_2_versions_count_up_for_each_flow(store: Store) -> None:
    numbers = [
        store.deployments.create(deployment(flow), tag=None, exclusive=False) for flow in ("a", "a", "b", "a", "b")
    ]
    assert numbers == [1, 2, 1, 3, 2]


def test_s8_2_a_version_comes_back_as_it_was_recorded(store: Store) -> None:
    row = deployment(
        dirty=True, retries=2, cache=False, commit="abc", image='{"base_image": "x"}', default_inputs='{"url": "u"}'
    )
    store.deployments.create(row, tag="stable", exclusive=False)
    assert store.deployments.get(key(1)) == row._replace(version=1, tags=("default", "stable"))
    assert store.deployments.get(key(2)) is None
    assert store.deployments.get(key(1)._replace(project="/other")) is None


def test_s8_3_only_the_first_version_gets_default(store: Store) -> None:
    deploy(store, 2)
    assert tags(store) == [("default", 1, True)]


def test_s8_3_an_exclusive_tag_leaves_the_version_that_it_was_at(store: Store) -> None:
    deploy(store, 3)
    assert store.deployments.tag(key(2), "live", exclusive=True)
    assert store.deployments.tag(key(3), "live", exclusive=False)
    assert store.deployments.tag(key(2), "default", exclusive=False)
    assert tags(store) == [("default", 2, True), ("live", 3, True)]


def test_s8_3_a_shared_tag_is_at_several_versions_until_it_is_made_exclusive(store: Store) -> None:
    deploy(store, 3)
    for version in (1, 2):
        assert store.deployments.tag(key(version), "ok", exclusive=False)
    assert [one for one in tags(store) if one[0] == "ok"] == [("ok", 1, False), ("ok", 2, False)]
    assert store.deployments.tag(key(3), "ok", exclusive=True)
    assert [one for one in tags(store) if one[0] == "ok"] == [("ok", 3, True)]


def test_s8_3_a_tag_cannot_be_set_at_a_version_that_is_not_there(store: Store) -> None:
    deploy(store)
    assert not store.deployments.tag(key(2), "live", exclusive=True)
    assert not store.deployments.untag(key(1), "live")
    assert tags(store) == [("default", 1, True)]


def test_s8_3_a_tag_is_removed_from_one_version(store: Store) -> None:
    deploy(store, 2)
    for version in (1, 2):
        store.deployments.tag(key(version), "ok", exclusive=False)
    assert store.deployments.untag(key(1), "ok")
    assert store.deployments.tags("/project", "greet") == [TagRow("default", 1, True), TagRow("ok", 2, False)]


def test_s8_2_the_number_of_a_deleted_version_is_not_given_again(store: Store) -> None:
    deploy(store, 2)
    store.deployments.tag(key(2), "ok", exclusive=False)
    assert store.deployments.delete(key(2))
    assert not store.deployments.delete(key(2))
    assert store.deployments.get(key(2)) is None
    assert tags(store) == [("default", 1, True)]
    assert store.deployments.create(deployment(), tag=None, exclusive=False) == 3


def test_s8_3_a_version_with_an_exclusive_tag_is_not_deleted(store: Store) -> None:
    deploy(store)
    assert not store.deployments.delete(key(1))
    assert store.deployments.get(key(1)) is not None


def test_s8_4_a_version_that_an_unfinished_execution_stays_on_is_not_deleted(store: Store) -> None:
    deploy(store, 2)
    store.runners.register(runner("r"), lease_seconds=60)
    row = execution("exec", runner_id="r")._replace(
        project="/project", flow="greet", deployment_version=2, snapshot="s"
    )
    create(store, row)
    found = store.executions.get("exec")
    assert found is not None
    assert (found.deployment_version, found.snapshot) == (2, "s")
    assert store.deployments.unfinished(key(2), limit=5) == ["exec"]
    assert store.deployments.unfinished(key(1), limit=5) == []
    assert not store.deployments.delete(key(2))
    commit(store, None, Claimed("r", Status.PENDING, 0, 1))
    commit(store, 1, StatusChanged(Status.COMPLETED, START, result="1"))
    assert store.deployments.delete(key(2))


def test_s7_1_versions_are_listed_in_pages(store: Store) -> None:
    deploy(store, 3, "a")
    deploy(store, 2, "b")
    found: list[tuple[str, int]] = []
    after = None
    while page := store.deployments.list(project=None, flow=None, limit=2, after=after):
        found += [(row.flow, row.version) for row in page]
        after = DeploymentKey(page[-1].project, page[-1].flow, page[-1].version)
    assert found == [("a", 3), ("a", 2), ("a", 1), ("b", 2), ("b", 1)]
    of_a = store.deployments.list(project="/project", flow="a", limit=9, after=key(3, "a"))
    assert [row.version for row in of_a] == [2, 1]
    assert store.deployments.flows() == [("/project", "a"), ("/project", "b")]


def test_s8_2_several_processes_that_deploy_at_once_get_a_number_each(url: str) -> None:
    store = open_store(url, SystemClock())
    command = [sys.executable, "-m", "tests.contract.processes", "deploy", url, "20"]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    printed = [child.communicate(timeout=60)[0].split() for child in children]
    assert sorted(int(number) for numbers in printed for number in numbers) == list(range(1, 81))
    assert [one.tag for one in store.deployments.tags("/project", "greet")] == [
        "default",
        "live",
    ]  # each at one version
    store.close()
