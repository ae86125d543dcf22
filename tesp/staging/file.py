"""file:// URLs and bare /paths, within the roots that the settings name."""

import os
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from tesp.errors import AccessRefused, SourceMissing, StagingError, UnsupportedUrl
from tesp.settings import FileRoot
from tesp.staging import Chunks, Entry, Place, Stream, disk, tree
from tesp.staging.supply import Supply
from tesp.staging.urls import below, scheme
from tesp.threads import in_thread


class FileStorage:
    """Files of this machine, or of a file system that it shares."""

    schemes = frozenset({"file"})
    lists = True

    def __init__(self, roots: Sequence[FileRoot]) -> None:
        # The innermost root decides: a read-only one inside a writable one stays read-only.
        self._roots = sorted(roots, key=lambda root: len(root.path.parts), reverse=True)

    def check(self, url: str, *, writing: bool) -> None:
        """Refuse what is outside the roots, or would write to a read-only one."""
        self._allowed(_path(url), [r.path.absolute() for r in self._roots], url, writing)

    def locations(self) -> list[str]:
        """The roots that a job reaches itself, to read and to write: a client that finds a
        directory in one may count on a live mount."""
        live = [r.path for r in self._roots if r.shared and r.writable and r.path.is_dir()]
        return [f"file://{quote(str(path))}" for path in live]

    def place(self, url: str) -> Place | None:
        """Where a URL lies, if that is in a shared root."""
        try:
            path = _path(url)
        except UnsupportedUrl:
            return None
        for root in self._roots:
            if path.is_relative_to(root.path.absolute()):
                there = Place(str(path), str(root.path), root.writable)
                return there if root.shared else None
        return None

    def resolve(self, url: str, *, writing: bool) -> tuple[Path, Path]:
        """The real root and the real path of a URL, all links followed; AccessRefused where
        they lead out of the roots. Blocking."""
        self.check(url, writing=writing)
        real = Path(os.path.realpath(_path(url)))
        return self._allowed(real, self._real_roots(), url, writing), real

    @asynccontextmanager
    async def open(self, url: str, start: int = 0, tag: str | None = None) -> AsyncIterator[Stream]:
        """Open a regular file from byte `start`."""
        root, parts = await in_thread(self._place, url, False)
        if not parts:
            raise SourceMissing(f"{url}: that is a directory")
        async with disk.opened(root, parts, url, start, tag) as stream:
            yield stream

    async def put(self, url: str, chunks: Chunks, size: int) -> None:
        """Store a file by a temporary name and a rename, making its parents."""
        root, parts = await in_thread(self._place, url, True)
        if not parts or url.endswith("/"):
            raise StagingError(f"{url}: that names a directory, not a file")
        async with Supply(chunks, size, url) as supply:
            await disk.written(root, parts, supply.chunks(), url)

    async def list(self, url: str) -> AsyncIterator[Entry]:
        """The regular files below a directory; links are followed within the roots."""
        top = os.path.realpath(_path(url))
        waiting = [("", frozenset({top}))]
        while waiting:
            name, above = waiting.pop()
            found = await in_thread(self._scan, url, name)
            for child, path, size in found:
                if size is not None:
                    yield Entry(below(url, child), child, size)
                elif path not in above:
                    waiting.append((child, above | {path}))

    async def close(self) -> None:
        """Nothing is held."""

    def _scan(self, url: str, name: str) -> Sequence[tuple[str, str, int | None]]:
        """Name, real path and size of what one directory holds; no size for a directory."""
        found: deque[tuple[str, str, int | None]] = deque()
        with tree.translated(url):
            try:
                entries = sorted(os.scandir(_path(url) / name), key=lambda e: e.name)
            except (FileNotFoundError, NotADirectoryError):
                return ()
            for entry in entries:
                path = os.path.realpath(entry.path)
                child = f"{name}/{entry.name}".lstrip("/")
                self._allowed(Path(path), self._real_roots(), below(url, child), False)
                if entry.is_dir():
                    found.append((child, path, None))
                elif entry.is_file():
                    found.append((child, path, entry.stat().st_size))
        return found

    def _place(self, url: str, writing: bool) -> tuple[Path, Sequence[str]]:
        """The real root of a URL and the path below it that holds no link."""
        self.check(url, writing=writing)
        path = _path(url)
        # What is written takes the place of a link and never goes through it.
        real = os.path.realpath(path.parent) if writing else os.path.realpath(path)
        target = Path(real, path.name) if writing else Path(real)
        root = self._allowed(target, self._real_roots(), url, writing)
        return root, target.relative_to(root).parts

    def _real_roots(self) -> Sequence[Path]:
        return [Path(os.path.realpath(r.path)) for r in self._roots]

    def _allowed(self, path: Path, roots: Sequence[Path], url: str, writing: bool) -> Path:
        for settings, root in zip(self._roots, roots, strict=True):
            if path.is_relative_to(root):
                if writing and not settings.writable:
                    raise UnsupportedUrl(f"{url}: {settings.path} is read-only (staging.files)")
                return root
        names = ", ".join(str(r.path) for r in self._roots) or "none are set"
        if path != _path(url):
            raise AccessRefused(f"{url}: a link leads out of the file roots ({names})")
        raise UnsupportedUrl(f"{url}: outside the file roots (staging.files: {names})")


def _path(url: str) -> Path:
    """The absolute path of a URL: a bare path as it stands, file:// unescaped."""
    text = url
    if not url.startswith("/"):
        host, slash, path = url[len("file://") :].partition("/")
        if scheme(url) != "file" or host not in ("", "localhost"):
            raise UnsupportedUrl(f"{url}: a file URL reads file:///path, without a host")
        text = unquote(slash + path)
    if "\0" in text or ".." in text.split("/"):
        raise UnsupportedUrl(f"{url}: a path with `..` or NUL; give the plain absolute path")
    if not text.startswith("/"):
        raise UnsupportedUrl(f"{url}: not an absolute path")
    return Path(text)
