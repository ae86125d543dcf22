"""What was found, laid out by output and size for those who send it by its name."""

import os
from collections import Counter
from typing import List, Sequence

from tesp.runner.plan import PUBLISHED_DIR, Found
from tesp.runner.process import encode
from tesp.runner.spots import open_regular
from tesp.runner.streams import write_all

_BLOCK_BYTES = 1 << 20


def place_of(found: Found) -> str:
    """Where a file is published, relative to the workspace."""
    name = "below/" + found.name if found.name else "file"
    return "%s/%d/%d/%s" % (PUBLISHED_DIR, found.output, found.size, name)


def publish(found: Sequence[Found]) -> List[Found]:
    """Link each file to its place; the same files, where one had to be moved by its new name."""
    listed = Counter(f.file for f in found)
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return [_published(here, one, listed[one.file] == 1) for one in found]
    finally:
        os.close(here)


def _published(here: int, one: Found, alone: bool) -> Found:
    target = encode(place_of(one))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open_regular(".", one.file) as file:
        try:
            # A directory's descriptor makes it follow the link from a descriptor to its file.
            os.link("/proc/self/fd/%d" % file.fileno(), target, src_dir_fd=here)
            return one
        except OSError:
            pass  # another file system, one without links, or a file that is not ours to link
        if alone and not one.file.startswith("/"):
            try:
                os.rename(encode(one.file), target)
                return one._replace(file=place_of(one))
            except OSError:
                pass
        _copy(file.fileno(), target)
    return one


def _copy(source: int, target: bytes) -> None:
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        while True:
            block = os.read(source, _BLOCK_BYTES)
            if not block:
                return
            write_all(fd, block)
    finally:
        os.close(fd)
