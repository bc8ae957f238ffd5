"""S1.8: options, layer over layer; and what a wrong one gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import ImageSettings, KitaruClient, KitaruUsageError, flow
from tests.acceptance.gates import PATIENCE, Gate

LAYERS = ("run", "decorator", "configure", "environment", "project")
"""Strongest first, as the seed lists them. The active stack comes after them, and the default last."""


class Layers:
    """Sets one option in some of the layers, and tells what an execution makes of it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(folder)

    def give(self, option: str, values: dict[str, Any]) -> kitaru.Execution:
        """An execution of a flow, with the option set to another value in each of the named layers."""
        self.set_outside(option, values)
        given = {option: values["decorator"]} if "decorator" in values else {}

        @flow(**given)
        def layered() -> None: ...

        handle = layered.run(**({option: values["run"]} if "run" in values else {}))
        handle.wait(PATIENCE)
        return KitaruClient().executions.get(handle.exec_id)

    def set_outside(self, option: str, values: dict[str, Any]) -> None:
        """Set the layers that lie outside the flow."""
        if "environment" in values:
            value = values["environment"]
            text = json.dumps(value) if isinstance(value, (dict, bool, int)) else value
            self._monkeypatch.setenv(f"KITARU_{option.upper()}", text)
        if "project" in values:
            value = values["project"]
            text = _toml(value) if isinstance(value, dict) else json.dumps(value)
            (self.folder / "pyproject.toml").write_text(f"[tool.kitaru]\n{option} = {text}\n")
        if "configure" in values:
            kitaru.configure(**{option: values["configure"]})


def _toml(value: dict[str, Any]) -> str:
    return (
        "{" + ", ".join(f"{k} = {_toml(v) if isinstance(v, dict) else json.dumps(v)}" for k, v in value.items()) + "}"
    )


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layers:
    folder = tmp_path / "project"
    folder.mkdir()
    return Layers(folder, monkeypatch)


@pytest.mark.parametrize("strongest", range(len(LAYERS)), ids=LAYERS)
def test_s1_8_the_strongest_layer_that_gives_retries_counts(layers: Layers, strongest: int) -> None:
    given = {layer: 10 + index for index, layer in enumerate(LAYERS) if index >= strongest}
    assert layers.give("retries", given).retries == 10 + strongest


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("strongest", range(len(LAYERS)), ids=LAYERS)
def test_s1_8_the_strongest_layer_that_gives_cache_counts(layers: Layers, strongest: int, value: bool) -> None:
    given = {layer: value if index == strongest else not value for index, layer in enumerate(LAYERS)}
    given = {layer: given[layer] for layer in LAYERS[strongest:]}
    assert layers.give("cache", given).cache is value


@pytest.mark.parametrize("strongest", range(len(LAYERS)), ids=LAYERS)
def test_s1_8_the_strongest_layer_that_gives_a_stack_counts(layers: Layers, strongest: int) -> None:
    """None of these stacks exists, so the refusal tells which one was resolved."""
    given = {layer: f"of-{layer}" for layer in LAYERS[strongest:]}
    layers.set_outside("stack", given)
    kitaru.create_stack("active", "local")
    kitaru.use_stack("active")
    with pytest.raises(KitaruUsageError, match=f"no stack 'of-{LAYERS[strongest]}'"):
        layers.give("stack", given)
    assert len(KitaruClient().executions.list()) == 0


def test_s1_8_the_active_stack_comes_last_and_is_not_changed_by_a_run(layers: Layers) -> None:
    kitaru.create_stack("mine", "local")
    kitaru.use_stack("mine")
    assert layers.give("stack", {}).stack == "mine"
    assert layers.give("stack", {"run": "local"}).stack == "local"
    assert kitaru.current_stack().name == "mine"


@pytest.mark.parametrize("layer", LAYERS)
def test_s1_8_every_layer_alone_comes_before_the_active_stack(layers: Layers, layer: str) -> None:
    layers.set_outside("stack", {layer: "of-layer"})
    for name in ("of-layer", "active"):
        kitaru.create_stack(name, "local")
    kitaru.use_stack("active")
    assert layers.give("stack", {layer: "of-layer"}).stack == "of-layer"


def test_s1_8_options_bind_one_execution_only(layers: Layers) -> None:
    @flow(retries=1)
    def my_agent() -> None: ...

    executions = KitaruClient().executions
    bound = my_agent.run(retries=4, cache=False, image="x")
    after = my_agent.run()
    assert (executions.get(bound.exec_id).retries, executions.get(bound.exec_id).cache) == (4, False)
    assert (executions.get(after.exec_id).retries, executions.get(after.exec_id).cache) == (1, True)
    assert executions.get(after.exec_id).image is None
    after.wait(PATIENCE)


def test_s1_8_without_any_layer_the_defaults_hold(layers: Layers) -> None:
    execution = layers.give("retries", {})
    assert (execution.stack, execution.retries, execution.cache, execution.image) == ("local", 0, True, None)


def test_s1_8_an_image_merges_by_field_and_its_environment_by_key(layers: Layers) -> None:
    image = layers.give(
        "image",
        {
            "run": {"environment": {"A": "run"}},
            "decorator": {"requirements": ["decorator"], "environment": {"A": "decorator", "B": "decorator"}},
            "configure": ImageSettings(requirements=("configure",), apt_packages=("configure",)),
            "environment": {"base_image": "environment", "apt_packages": ["environment"], "environment": {"C": "env"}},
            "project": {"base_image": "project", "dockerfile": "project", "environment": {"A": "p", "D": "project"}},
        },
    ).image
    assert image is not None
    assert json.loads(image) == {
        "base_image": "environment",
        "requirements": ["decorator"],
        "apt_packages": ["configure"],
        "dockerfile": "project",
        "environment": {"A": "run", "B": "decorator", "C": "env", "D": "project"},
    }


@pytest.mark.parametrize("layer", LAYERS)
def test_s1_8_a_string_is_the_base_image_in_every_layer(layers: Layers, layer: str) -> None:
    image = layers.give("image", {layer: "python:3.12"}).image
    assert image is not None
    assert json.loads(image) == {"base_image": "python:3.12"}


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("TRUE", True), ("off", False), ("no", False)])
def test_s1_8_kitaru_cache_is_read_as_people_write_it(
    layers: Layers, monkeypatch: pytest.MonkeyPatch, text: str, expected: bool
) -> None:
    monkeypatch.setenv("KITARU_CACHE", text)
    assert layers.give("retries", {}).cache is expected


WRONG: list[tuple[str, Any]] = [
    ("retries", -1),
    ("retries", "many"),
    ("cache", "perhaps"),
    ("image", {"requirments": ["x"]}),
    ("image", {"requirements": "x"}),
]
PLACES = {
    "run": r"layered\.run\(\)",
    "decorator": "@flow layered",
    "configure": r"kitaru\.configure\(\)",
    "environment": "KITARU_{}",
    "project": r"pyproject\.toml.*\[tool\.kitaru\]",
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("option", "value"), WRONG)
def test_s1_8_a_wrong_value_is_refused_with_its_option_and_layer_and_nothing_is_recorded(
    layers: Layers, layer: str, option: str, value: Any
) -> None:
    with pytest.raises(KitaruUsageError, match=PLACES[layer].format(option.upper())) as caught:
        layers.give(option, {layer: value})
    assert option in str(caught.value).lower()
    (layers.folder / "pyproject.toml").unlink(missing_ok=True)
    assert len(KitaruClient().executions.list()) == 0


@pytest.mark.parametrize("layer", LAYERS)
def test_s1_8_an_unknown_stack_is_refused_before_anything_is_recorded(layers: Layers, layer: str) -> None:
    with pytest.raises(KitaruUsageError, match=r"no stack 'nowhere'.*local"):
        layers.give("stack", {layer: "nowhere"})
    assert len(KitaruClient().executions.list()) == 0


@pytest.mark.parametrize("stack", [3, "two words"])
def test_s1_8_what_is_no_name_of_a_stack_is_refused(stack: Any) -> None:
    with pytest.raises(KitaruUsageError, match="cannot be the name of a stack"):
        flow(stack=stack)(lambda: None).run()


@pytest.mark.parametrize("tags", ["red", [1], None, 5, [""]])
def test_s1_2_tags_that_are_no_list_of_words_are_refused(layers: Layers, tags: Any) -> None:
    @flow
    def my_agent() -> None: ...

    with pytest.raises(KitaruUsageError, match="tags="):
        my_agent.run(tags=tags)
    assert len(KitaruClient().executions.list()) == 0


LATE: list[Callable[[], None]] = [
    lambda: kitaru.configure(home="/elsewhere"),
    lambda: kitaru.configure(store="sqlite:////elsewhere"),
    lambda: kitaru.configure(max_flows=1),
]


@pytest.mark.parametrize("call", LATE)
def test_s10_settings_of_the_store_are_refused_once_it_is_in_use(call: Callable[[], None]) -> None:
    KitaruClient()
    with pytest.raises(KitaruUsageError, match="too late"):
        call()


def test_s10_max_flows_bounds_what_runs_at_once_and_the_others_are_pending() -> None:
    kitaru.configure(max_flows=2)
    gates = [Gate() for _ in range(4)]

    @flow
    def my_agent(number: int) -> int:
        gates[number].pass_()
        return number

    handles = [my_agent.run(number) for number in range(4)]
    gates[0].await_reached()
    gates[1].await_reached()
    assert [handle.status for handle in handles] == ["running", "running", "pending", "pending"]
    gates[1].open()
    gates[2].await_reached()
    assert [handle.status for handle in handles] == ["running", "completed", "running", "pending"]
    for gate in gates:
        gate.open()
    assert [handle.wait(PATIENCE) for handle in handles] == [0, 1, 2, 3]


def test_s10_a_bound_of_the_environment_is_refused_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITARU_MAX_THREADS", "0")
    with pytest.raises(KitaruUsageError, match="KITARU_MAX_THREADS"):
        kitaru.info()


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2"])
def test_s10_a_bound_that_is_no_count_is_refused(wrong: Any) -> None:
    for option in ("max_flows", "max_threads"):
        with pytest.raises(KitaruUsageError, match=option):
            kitaru.configure(**{option: wrong})
