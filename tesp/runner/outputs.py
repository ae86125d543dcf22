"""The manifest: which regular files each output of a plan consists of."""

import os
import stat
from typing import List, NamedTuple, Optional, Sequence, Set, Tuple

from tesp.runner.files import Tree
from tesp.runner.patterns import alternatives, is_pattern, literal, matcher
from tesp.runner.plan import Found, Output
from tesp.runner.process import encode
from tesp.runner.spots import Refused, Spot, Uncovered, shown

FILE, DIRECTORY = "FILE", "DIRECTORY"
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Manifest(NamedTuple):
    """What was found; `refused` are sentences about what must not be read."""

    found: List[Found]
    types: List[Optional[str]]
    missing: List[int]
    warnings: List[str]
    refused: List[str]


def collect(tree: Tree, outputs: Sequence[Output]) -> Manifest:
    """Look for every output; what is refused does not hide the others.

    PermissionError goes up: the container left files that this user may not read.
    """
    manifest = Manifest([], [], [], [], [])
    for index, output in enumerate(outputs):
        search = _Search(tree, index, output)
        try:
            search.go()
        except Refused as error:
            manifest.refused.append("Output %s was refused: %s." % (output.path, error))
            search.type = None
        else:
            manifest.found.extend(search.found)
            if search.type is None:
                manifest.missing.append(index)
        manifest.types.append(search.type)
        manifest.warnings.extend(search.warnings)
    return manifest


class _Search:
    """The search for one output."""

    def __init__(self, tree: Tree, index: int, output: Output) -> None:
        self._tree, self._index, self._output = tree, index, output
        self.found: List[Found] = []
        self.warnings: List[str] = []
        self.type: Optional[str] = None

    def go(self) -> None:
        """Find everything; raises Refused."""
        if not self._output.pattern:
            self._take(encode(self._output.path), self._output.path.rstrip("/"), single=True)
            return
        for path in self._matches():
            self._take(path, self._output.prefix or "", single=False)

    def _matches(self) -> List[bytes]:
        """What matches the path as it stands; else what matches the alternatives in it."""
        found, others = self._expand(self._output.path), alternatives(self._output.path)
        if not others or any(self._exists(path) for path in found):
            return found
        matches = [path for other in others for path in self._expand(other)]
        return sorted(set(matches))

    def _exists(self, path: bytes) -> bool:
        try:
            _close(self._tree.resolve(path))
        except FileNotFoundError:
            return False
        except Refused:
            return True  # to be told of when it is taken
        return True

    def _take(self, path: bytes, base: str, single: bool) -> None:
        try:
            spot = self._tree.resolve(path)
        except FileNotFoundError:
            return
        except Uncovered as error:
            self.warnings.append("Output %s: %s." % (shown(path), error))
            return
        try:
            kind = stat.S_IFMT(spot.mode())
            if kind == stat.S_IFDIR:
                self.type = DIRECTORY
                self._descend(spot, path, base, set())
            elif kind == stat.S_IFREG:
                self.type = self.type or FILE
                self._add(spot, path, "" if single else _below(path, base))
            else:
                raise Refused(
                    "%s is %s, only regular files are uploaded"
                    % (shown(path), _KINDS.get(kind, "no regular file"))
                )
        finally:
            _close(spot)

    def _descend(self, spot: Spot, path: bytes, base: str, above: Set[Tuple[int, int]]) -> None:
        """Take all files below a directory; `above` are the directories on the way to it."""
        if spot.fd is not None:
            info = os.fstat(spot.fd)
            if (info.st_dev, info.st_ino) in above:
                self.warnings.append(
                    "%s leads back to a directory above it: its files are listed"
                    " once." % _named(path)
                )
                return
            above = above | {(info.st_dev, info.st_ino)}
        for name in self._tree.names(spot):
            self._entry(
                path.rstrip(b"/") + b"/" + name, spot.path.rstrip(b"/") + b"/" + name, base, above
            )

    def _entry(self, path: bytes, real: bytes, base: str, above: Set[Tuple[int, int]]) -> None:
        try:
            spot = self._tree.resolve(real)
        except FileNotFoundError:
            self.warnings.append("%s is a symbolic link to nothing: left out." % _named(path))
            return
        try:
            kind = stat.S_IFMT(spot.mode())
            if kind == stat.S_IFDIR:
                self._descend(spot, path, base, above)
            elif kind == stat.S_IFREG:
                self._add(spot, path, _below(path, base))
            else:
                self.warnings.append("%s is %s: left out." % (_named(path), _KINDS[kind]))
        finally:
            _close(spot)

    def _add(self, spot: Spot, path: bytes, name: str) -> None:
        assert spot.fd is not None
        if not os.access("/proc/self/fd/%d" % spot.fd, os.R_OK):
            raise PermissionError(13, "cannot be read", shown(path))
        self.found.append(
            Found(self._index, _text(path), _text(spot.file), os.fstat(spot.fd).st_size, name)
        )

    def _expand(self, pattern: str) -> List[bytes]:
        """Every path of the container that matches."""
        paths = [b""]
        for component in pattern.split("/"):
            if component in ("", "."):
                continue
            if is_pattern(component):
                fits = matcher(component)
                paths = [
                    p + b"/" + n
                    for p in paths
                    for n in self._names(p)
                    if fits(n.decode("utf-8", "surrogateescape"))
                ]
            else:
                paths = [p + b"/" + encode(literal(component)) for p in paths]
        return paths

    def _names(self, path: bytes) -> List[bytes]:
        try:
            spot = self._tree.resolve(path)
        except (FileNotFoundError, Uncovered):
            return []
        try:
            return self._tree.names(spot) if stat.S_ISDIR(spot.mode()) else []
        finally:
            _close(spot)


def _below(path: bytes, base: str) -> str:
    """The name of a match: its path without the base."""
    text = _text(path)
    return (text[len(base) :] if text.startswith(base) else text).lstrip("/")


def _text(path: bytes) -> str:
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(
            "the name of %s is not UTF-8, no URL can be made of it" % shown(path)
        ) from None


def _named(path: bytes) -> str:
    return shown(path).replace("\n", "\\n")


def _close(spot: Spot) -> None:
    if spot.fd is not None:
        os.close(spot.fd)
