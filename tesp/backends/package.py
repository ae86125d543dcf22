"""The runner as one file, which backends bring to where it is to run."""

import hashlib
import importlib.util
import io
import json
import marshal
import zipfile
from functools import cache
from pathlib import Path

from tesp import runner
from tesp.runner.plan import PLAN_FILE, Plan

PACKAGE = Path(runner.__file__).parent
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNCHECKED_HASH = (1).to_bytes(4, "little")
# It may be started by a relative path, and goes to a workspace before it imports the rest.
_START = """\
import gc
import os
import sys

gc.disable()  # nothing that is imported is garbage
sys.path[0] = os.path.abspath(sys.path[0])

from tesp.runner import __main__
"""


def modules() -> dict[str, bytes]:
    """The files of the zipapp by name: the runner's modules, and what starts them."""
    found = {f"tesp/runner/{p.name}": p.read_bytes() for p in sorted(PACKAGE.glob("*.py"))}
    return {"__main__.py": _START.encode(), "tesp/__init__.py": b"", **found}


def build(directory: Path) -> Path:
    """Write the runner into `directory`; the same modules give the same file.

    Its name tells its content: one that runs imports from its own file, whatever is built
    meanwhile.
    """
    content = packed()
    digest = hashlib.sha256(content).hexdigest()[:12]
    target = directory / f"runner-{digest}.pyz"
    fresh = target.with_suffix(".new")
    fresh.write_bytes(content)
    return fresh.replace(target)


def with_plan(plan: Plan) -> bytes:
    """The runner with one plan packed beside it: all that `runner job` needs."""
    content = io.BytesIO(packed())
    with zipfile.ZipFile(content, "a") as archive:
        member = zipfile.ZipInfo(PLAN_FILE, _EPOCH)
        archive.writestr(member, json.dumps(plan.to_json()), zipfile.ZIP_DEFLATED)
    return content.getvalue()


@cache
def packed() -> bytes:
    """The runner alone, made once a process.

    Beside each module lies its bytecode for this interpreter, which it takes as it is: nothing
    is compiled at the start. Another interpreter takes the source.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, source in modules().items():
            for member, data in ((name + "c", bytecode(source, name)), (name, source)):
                archive.writestr(zipfile.ZipInfo(member, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def bytecode(source: bytes, name: str) -> bytes:
    """A module compiled, with a hash that is never checked (PEP 552)."""
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    return (
        importlib.util.MAGIC_NUMBER
        + _UNCHECKED_HASH
        + importlib.util.source_hash(source)
        + marshal.dumps(code)
    )
