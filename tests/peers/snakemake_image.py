"""A container image with Snakemake: busybox, bash, and the tests' installation with its Python."""

import io
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.peers.docker_engine import DockerEngine, busybox_image
from tests.peers.environments import interpreter
from tests.peers.snakemake import installation

NAME = "tesp-test/snakemake:1"
_BASH = Path("/bin/bash")
_STDLIB = "import sysconfig; print(sysconfig.get_path('stdlib'))"
# Parts of Python that no job asks for; the place where others would install more.
_LEFT_OUT = frozenset({"test", "lib2to3", "idlelib", "tkinter", "ensurepip", "site-packages"})
_ELF = b"\x7fELF"


def load(engine: DockerEngine) -> str:
    """Import the image into an engine; gives its name."""
    path = f"{installation() / 'bin'}:/usr/bin:/bin:/usr/sbin:/sbin"
    engine.cli("import", "--change", f"ENV PATH={path}", "-", NAME, stdin=_tree())
    return NAME


def _tree() -> bytes:
    """A tar of the image's root directory."""
    out = io.BytesIO(busybox_image())
    with tarfile.open(fileobj=out, mode="a") as tar:
        stdlib = Path(_said(interpreter("snakemake"), "-c", _STDLIB))
        trees = [stdlib, installation()]
        programs = {_BASH, *_links(interpreter("snakemake"))}
        for file in programs | _libraries([*programs, *trees]):
            # Where /lib and /lib64 are links, the image has directories with what is needed.
            if not any(tree in file.parents for tree in trees):
                tar.add(file, str(file), recursive=False)
        tar.add(stdlib, str(stdlib), filter=_wanted(stdlib))
        tar.add(installation(), str(installation()))
    return out.getvalue()


def _links(program: Path) -> Iterator[Path]:
    """A program, and what stands between its name and its file."""
    yield program
    while program.is_symlink():
        program = program.parent / program.readlink()
        yield program


def _wanted(stdlib: Path) -> Callable[[tarfile.TarInfo], tarfile.TarInfo | None]:
    def wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        below = Path("/" + entry.name).relative_to(stdlib).parts
        left_out = below and (below[0] in _LEFT_OUT or below[0].startswith("config-"))
        return None if left_out or entry.name.endswith(".a") else entry

    return wanted


def _libraries(places: Iterable[Path]) -> set[Path]:
    """The shared libraries that programs and the modules in directories ask for."""
    files = [f for p in places for f in ([p] if p.is_file() else p.rglob("*.so*"))]
    elves = [f for f in files if f.is_file() and f.open("rb").read(4) == _ELF]
    # ldd fails where one of them is a program without libraries.
    done = subprocess.run(["ldd", *elves], capture_output=True, check=False, text=True)
    words = (word for line in done.stdout.splitlines() for word in line.split())
    found = {Path(w) for w in words if w.startswith("/") and not w.endswith(":")}
    return {link for library in found for link in _links(library)}


def _said(*argv: str | Path) -> str:
    return subprocess.run(argv, capture_output=True, check=True, text=True).stdout.strip()
