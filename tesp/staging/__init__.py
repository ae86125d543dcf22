"""Staging: bytes between a task's URLs and its workspace.

A `Storage` speaks one kind of URL; a `Workspace` is where one attempt's files are. What
moves between them is a `Stream`: bounded memory whatever the size.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

FileType = Literal["FILE", "DIRECTORY"]
Chunks = Callable[[], AsyncIterator[bytes]]
"""Starts the bytes from the beginning, each time it is called: a put can be tried again."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Bytes of one file from `start` on.

    `size` is the whole file's in bytes, None where the peer does not say. `tag` names this
    very version of it (an ETag, a modification time); None where there is no such thing.
    """

    chunks: AsyncIterator[bytes]
    size: int | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One file below a directory URL; `name` is its path below it, `/` between the parts."""

    url: str
    name: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL lies in a shared root: `path` and `root` are absolute, as they are named."""

    path: str
    root: str
    writable: bool


class Storage(Protocol):
    """One kind of place that URLs point to. Errors are those of tesp.errors.StagingError."""

    schemes: frozenset[str]
    lists: bool
    """Whether `list` can work: a DIRECTORY input needs it."""

    def check(self, url: str, *, writing: bool) -> None:
        """Raise UnsupportedUrl, with the mend, where this URL can never work. No network."""
        ...

    def locations(self) -> list[str]:
        """URL prefixes to advertise in service-info."""
        ...

    def open(
        self, url: str, start: int = 0, tag: str | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """Open a file from byte `start`; SourceChanged where it is no longer version `tag`."""
        ...

    async def put(self, url: str, chunks: Chunks, size: int) -> None:
        """Store a file whole or not at all, and verify its size."""
        ...

    def list(self, url: str) -> AsyncIterator[Entry]:
        """The files below a directory URL; none where it is a file or does not exist."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class Workspace(Protocol):
    """The files of one attempt. `file` is a relative path; `..` and links are never followed."""

    async def write(self, file: str, chunks: AsyncIterator[bytes]) -> int:
        """Write a file by a temporary name, making its parents; the bytes written."""
        ...

    def open(self, file: str) -> AbstractAsyncContextManager[Stream]:
        """Open a regular file for reading."""
        ...

    async def make_directory(self, file: str) -> None:
        """Make a directory, with its parents, open to whatever user the container has."""
        ...

    async def free_bytes(self) -> int | None:
        """Room left, None where it cannot be known."""
        ...


@dataclass(frozen=True, slots=True)
class Download:
    """One input to bring into the workspace at `file`: from `content`, or else from `url`.

    `type` None: found out from what is there. `field` names the input in messages.
    """

    file: str
    field: str
    url: str | None = None
    content: str | None = None
    type: FileType | None = None


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A download done: the type found, the files and bytes moved."""

    type: FileType
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Upload:
    """One regular file of the workspace to put to `url`; `path` is the container's."""

    file: str
    url: str
    path: str
    size: int
    field: str


@dataclass(frozen=True, slots=True)
class Uploaded:
    """An upload done: where it can be had, the container's path, the bytes moved."""

    url: str
    path: str
    bytes: int
