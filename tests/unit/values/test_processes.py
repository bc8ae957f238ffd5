"""What one process records, another one reads: other hash seeds, scripts started as __main__."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = """
import dataclasses, enum, json, sys, typing
import attrs, pydantic
from kitaru.core.failure import Failure
from kitaru.values import ValueCodec, open_blobs

class Color(enum.Enum):
    RED = 1

@dataclasses.dataclass(frozen=True)
class Point:
    x: int

@attrs.frozen(cache_hash=True)
class Key:
    name: str

class Model(pydantic.BaseModel):
    tags: set[str]

class Pair(typing.NamedTuple):
    a: object

class OwnError(Exception):
    pass

def make():
    key = Key("k")
    return {
        "set": {str(n) for n in range(200)},
        "frozen": frozenset([Point(1), Point(2), key, Color.RED, "a", None, (1, "b")]),
        "dict": {Point(3): {"x", "y"}, "a": Model(tags={"p", "q", "r"}), key: Pair({1, 2})},
        "large": [{str(n): n} for n in range(5000)],
        "classes": [Point, Model, Color.RED],
    }

if __name__ == "__main__":
    values = ValueCodec(open_blobs(sys.argv[1]))
    before = json.load(sys.stdin) if len(sys.argv) > 2 else None
    if before is not None:
        assert values.decode(before["text"]) == make(), "not the same value"
        assert values.decode_inputs(before["inputs"]) == {"v": make(), "w": 1}
        error = values.decode_exception(Failure("", "", None, exception=before["error"]))
        assert type(error) is OwnError and error.args == (1,)
    inputs = values.encode_inputs({"v": make(), "w": 1}, allow_opaque=False)
    print(json.dumps({
        "text": values.encode(make(), "result"), "inputs": inputs.text, "digest": inputs.digest,
        "error": values.encode_exception(OwnError(1)),
    }))
"""


def _run(command: list[str], seed: str, given: str | None = None) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, *command], env=environment, input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_s4_1_another_process_with_another_hash_seed_reads_the_same(tmp_path: Path) -> None:
    script = tmp_path / "agent.py"
    script.write_text(SCRIPT)
    blobs = str(tmp_path / "blobs")
    first = _run([str(script), blobs], "1")
    assert f"{script}:OwnError" in first["error"]
    second = _run([str(script), blobs, "compare"], "2", json.dumps(first))
    assert second == first  # the digest among them (S3.1)

    # The script is not __main__ here: a worker reads what the script has recorded.
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, sys\nfrom kitaru.values import ValueCodec, open_blobs\n"
        "given = json.load(sys.stdin)\nvalues = ValueCodec(open_blobs(sys.argv[1]))\n"
        "value = values.decode(given['text'])\n"
        "again = values.encode_inputs({'v': value, 'w': 1}, allow_opaque=False)\n"
        "print(json.dumps({'digest': again.digest, 'classes': [c.__name__ for c in value['classes'][:2]]}))\n"
    )
    third = _run([str(worker), blobs], "3", json.dumps(first))
    assert third == {"digest": first["digest"], "classes": ["Point", "Model"]}


def test_import_is_cheap_and_loads_no_library() -> None:
    code = (
        "import sys, kitaru.values\n"
        "heavy = {'numpy', 'pandas', 'polars', 'pyarrow', 'PIL', 'pydantic', 'attr', 'obstore'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
