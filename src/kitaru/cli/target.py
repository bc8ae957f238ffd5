"""``file.py:flow`` or ``module:flow``, to the flow."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import click

from kitaru.cli.output import ERROR
from kitaru.core.references import resolve
from kitaru.engine.failures import traceback_text
from kitaru.errors import KitaruNotFoundError
from kitaru.sdk.flow import RESERVED, Flow
from kitaru.services.input_schema import check_inputs, input_schema, placed


class TargetError(click.ClickException):
    """The code of a target fails when it is imported. The message is the user's own traceback."""

    exit_code = ERROR
    kind = "TargetError"


def see_project() -> None:
    """Let modules of the working directory be imported, as ``python -m`` does."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def load_target(target: str) -> Flow[..., Any]:
    """The flow that a target names.

    Raises:
        click.UsageError: The target names no file, module or flow; the message has the nearest ones.
        TargetError: Its code raises when it is imported.
    """
    see_project()
    place, sign, name = target.rpartition(":")
    if not sign or (place == "" and name):
        place, name = target, ""
    names = _import(place, target)
    flows: dict[str, Flow[..., Any]] = {key: found for key, found in names.items() if isinstance(found, Flow)}
    if name in flows:
        return flows[name]
    listed = ", ".join(f"{place}:{one}" for one in flows) or "none; decorate a function with @kitaru.flow"
    if not name:
        raise click.UsageError(f"{target!r} does not say which flow. The flows there: {listed}.")
    if name in names:
        raise click.UsageError(f"{name!r} in {place} is no flow: it has no @flow decorator. The flows there: {listed}.")
    near = get_close_matches(name, list(flows), 1)
    hint = f"Did you mean {place}:{near[0]}?" if near else f"The flows there: {listed}."
    raise click.UsageError(f"{place} has no flow {name!r}. {hint}")


def check_against(flow: Flow[..., Any], inputs: Mapping[str, Any]) -> None:
    """Check inputs against the signature of a flow, before anything is recorded.

    Raises ``KitaruUsageError`` that lists all that is wrong.
    """
    taken = sorted(set(inputs) & set(RESERVED))
    if taken:  # a flow that collects further inputs would else get it as the option
        raise click.UsageError(f"--input: {taken[0]!r} is an option of `run`, and no input of a flow.")
    owner = f"flow {flow.name}"
    schema = input_schema(flow.fn)
    check_inputs(schema, placed(schema, inputs), owner, whole=True)


def _import(place: str, target: str) -> Mapping[str, object]:
    """The names of a file or a module, which is found as an execution's flow is found later."""
    is_file = place.endswith(".py") or Path(place).is_file()
    if is_file and not Path(place).is_file():
        raise click.UsageError(f"there is no file {place}.{_near_file(place)}")
    reference = str(Path(place).resolve()) if is_file else place
    try:
        return cast("Mapping[str, object]", resolve(f"{reference}:__dict__"))
    except KitaruNotFoundError:
        raise click.UsageError(
            f"there is no module {place!r} to import from here for {target!r}.{_near_file(place + '.py')}"
        ) from None
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001  # the user's code: it may even call sys.exit() when imported
        raise TargetError(f"{place} cannot be imported.\n{traceback_text(error)}") from None


def _near_file(place: str) -> str:
    folder = Path(place).parent
    files = [path.name for path in folder.glob("*.py")] if folder.is_dir() else []
    near = get_close_matches(Path(place).name, files, 1)
    return f" Did you mean {folder / near[0]}?" if near else ""
