"""The zipapp of the runner, built by the server; no part of it."""

import importlib.util
import marshal
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).parent
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNCHECKED_HASH = (1).to_bytes(4, "little")
_START = "from tesp.runner import __main__\n"


def modules() -> dict[str, bytes]:
    """The files of the zipapp by name: the runner's modules, and what starts them."""
    names = sorted(p.name for p in PACKAGE.glob("*.py") if p.name != Path(__file__).name)
    found = {f"tesp/runner/{name}": (PACKAGE / name).read_bytes() for name in names}
    return {"__main__.py": _START.encode(), "tesp/__init__.py": b"", **found}


def build(target: Path) -> Path:
    """Write the runner as one file at `target`; the same modules give the same bytes.

    Beside each module lies its bytecode for this interpreter, which it takes as it is: nothing
    is compiled at the start. Another interpreter takes the source.
    """
    fresh = target.with_name(target.name + ".new")
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as archive:
        for name, source in modules().items():
            archive.writestr(zipfile.ZipInfo(name + "c", _EPOCH), bytecode(source, name))
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), source)
    fresh.replace(target)
    return target


def bytecode(source: bytes, name: str) -> bytes:
    """A module compiled, with a hash that is never checked (PEP 552)."""
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    return (
        importlib.util.MAGIC_NUMBER
        + _UNCHECKED_HASH
        + importlib.util.source_hash(source)
        + marshal.dumps(code)
    )
