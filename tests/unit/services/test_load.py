"""Finding the flow of a record in this process (S6.3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru import KitaruNotFoundError, flow
from kitaru.services.load import load_flow


@flow
def of_this_module() -> None: ...


def plain() -> None: ...


def test_a_flow_that_this_process_has_decorated_is_found_even_where_no_import_could() -> None:
    @flow
    def local() -> None: ...

    assert "<locals>" in local.definition.reference
    assert load_flow(local.definition.reference) is local.definition


def test_the_latest_definition_under_a_name_counts() -> None:
    made = []
    for _ in range(2):

        @flow
        def again() -> None: ...

        made.append(again)
    assert load_flow(again.definition.reference) is made[1].definition


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("no_such_package.agents:agent", "'no_such_package.agents'.*PYTHONPATH"),
        ("json:agent", "json has no 'agent'"),
        (f"{__name__}:plain", "plain is not a flow any more"),
        ("/no/such/script.py:agent", r"/no/such/script\.py.*no longer there"),
    ],
)
def test_what_is_gone_is_not_found_and_the_remedy_is_named(reference: str, said: str) -> None:
    with pytest.raises(KitaruNotFoundError, match=said):
        load_flow(reference)


def test_an_error_of_the_module_itself_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "breaks_on_import.py").write_text("import module_that_it_needs\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="module_that_it_needs"):
        load_flow("breaks_on_import:agent")
    script = tmp_path / "breaks_as_script.py"
    for _ in range(2):  # the second time it is not taken for loaded
        script.write_text("1 / 0\n")
        with pytest.raises(ZeroDivisionError):
            load_flow(f"{script}:agent")
    script.write_text("from kitaru import flow\n@flow\ndef agent() -> None: ...\n")
    assert load_flow(f"{script}:agent").name == "agent"
