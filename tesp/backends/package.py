"""The runner as one file, which backends bring to where it is to run."""

import hashlib
import importlib.util
import io
import marshal
import zipfile
from pathlib import Path

from tesp import runner

PACKAGE = Path(runner.__file__).parent
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNCHECKED_HASH = (1).to_bytes(4, "little")
_START = "from tesp.runner import __main__\n"


def modules() -> dict[str, bytes]:
    """The files of the zipapp by name: the runner's modules, and what starts them."""
    found = {f"tesp/runner/{p.name}": p.read_bytes() for p in sorted(PACKAGE.glob("*.py"))}
    return {"__main__.py": _START.encode(), "tesp/__init__.py": b"", **found}


def build(directory: Path) -> Path:
    """Write the runner into `directory`; the same modules give the same file.

    Its name tells its content: one that runs imports from its own file, whatever is built
    meanwhile. Beside each module lies its bytecode for this interpreter, which it takes as it
    is: nothing is compiled at the start. Another interpreter takes the source.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, source in modules().items():
            archive.writestr(zipfile.ZipInfo(name + "c", _EPOCH), bytecode(source, name))
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), source)
    digest = hashlib.sha256(content.getvalue()).hexdigest()[:12]
    target = directory / f"runner-{digest}.pyz"
    fresh = target.with_suffix(".new")
    fresh.write_bytes(content.getvalue())
    return fresh.replace(target)


def bytecode(source: bytes, name: str) -> bytes:
    """A module compiled, with a hash that is never checked (PEP 552)."""
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    return (
        importlib.util.MAGIC_NUMBER
        + _UNCHECKED_HASH
        + importlib.util.source_hash(source)
        + marshal.dumps(code)
    )
