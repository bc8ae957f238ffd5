"""The Kitaru that runs, as a wheel: what an environment is given, and never a package of that name from a registry.

It is made from the files of the imported package and the metadata of its installation, alike for an
installed wheel and for a source tree, and without a build backend or a network.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tempfile
import zipfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from kitaru.deployments.laid_out import locked, note
from kitaru.errors import KitaruStateError

_MADE_AT = (1980, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: kitaru\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def own_wheel(folder: Path) -> Path:
    """The wheel, below ``folder``; made once for each state of the package.

    Raises:
        KitaruStateError: This Kitaru is not installed, so its requirements are not known.
    """
    try:
        installed = metadata.distribution("kitaru")
    except metadata.PackageNotFoundError:
        raise KitaruStateError(
            "Kitaru runs here without being installed, so it cannot be put into another environment. "
            "Install it: pip install -e <its source tree>."
        ) from None
    data = _pack(installed)
    target = folder / hashlib.sha256(data).hexdigest()[:16] / f"kitaru-{installed.version}-py3-none-any.whl"
    with locked(target.parent):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            # It is put in place whole: whoever is killed leaves none that is not.
            with tempfile.TemporaryDirectory(dir=target.parent) as own:
                part = Path(own) / target.name
                part.write_bytes(data)
                part.replace(target)
        note(target.parent, "builds")
    return target


def _pack(installed: metadata.Distribution) -> bytes:
    spec = find_spec("kitaru")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    info = f"kitaru-{installed.version}.dist-info"
    files = {
        f"kitaru/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    for name, text in (
        ("METADATA", installed.read_text("METADATA")),
        ("WHEEL", _WHEEL),
        ("entry_points.txt", installed.read_text("entry_points.txt")),
    ):
        if text is not None:
            files[f"{info}/{name}"] = text.encode()
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as wheel:
        for name, data in files.items():
            wheel.writestr(zipfile.ZipInfo(name, _MADE_AT), data)
    return buffer.getvalue()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
