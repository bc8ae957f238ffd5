"""Whether a flow can be loaded from here: ``python -m kitaru.worker.probe REFERENCE``.

Ends with code 0 where it can. Else the user's own traceback is printed, without the frames of what loads it.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from kitaru.services.load import load_flow

_OURS = (str(Path(__file__).parent.parent), str(Path(importlib.__file__).parent), "<frozen ")


def main(arguments: Sequence[str]) -> int:
    """The command."""
    try:
        load_flow(arguments[0])
    except BaseException as error:  # noqa: BLE001  # user code is imported: any of it may fail, SystemExit too
        told = traceback.TracebackException.from_exception(error)
        told.stack[:] = [frame for frame in told.stack if not frame.filename.startswith(_OURS)]
        print("".join(told.format(chain=False)), file=sys.stderr)  # noqa: T201  # a command
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
