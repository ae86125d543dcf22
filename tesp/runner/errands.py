"""What the job's side carries itself: inputs from where they are, outputs to where they belong."""

import json
import os
import re
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence
from urllib.parse import urlencode

from tesp.runner.crew import Crew
from tesp.runner.failure import Ended, Failure
from tesp.runner.plan import FETCH_FAILED, Fetch, Found
from tesp.runner.process import encode
from tesp.runner.spots import Refused, open_regular
from tesp.runner.streams import write_all
from tesp.runner.watch import Watch
from tesp.runner.web import Refusal, Setback, Web, translated

BLOCK_BYTES = 1 << 18
DRAFTS_DIR = "fetching"
_EXPIRED = 403  # what a presigned URL that came too late is answered
_CHANGED = 416  # the rest that was asked for is no more


def fetch_all(fetches: Sequence[Fetch], watch: Watch) -> None:
    """Bring files into the workspace, two at once; raises Failure or Ended."""
    web, crew = Web(), Crew(watch)
    os.makedirs(DRAFTS_DIR, exist_ok=True)
    errands = [_Fetching(web, crew, one, n).carry_out for n, one in enumerate(fetches)]
    try:
        crew.do(errands)
    except Refusal as error:
        raise Failure(FETCH_FAILED, "An input cannot be brought in: %s" % _ended(error)) from error
    os.rmdir(DRAFTS_DIR)


class Sent(NamedTuple):
    """What arrived, as indexes of what was found; the sentence on what did not; the end, where
    one was asked for."""

    indexes: List[int]
    error: Optional[str] = None
    ended: Optional[Ended] = None


def send_all(found: Sequence[Found], url: str, watch: Watch) -> Sent:
    """Send files to where they belong, two at once, until one of them is refused."""
    web, crew = Web(), Crew(watch)
    indexes: List[int] = []
    errands = [_Sending(web, crew, one, url, n, indexes).carry_out for n, one in enumerate(found)]
    try:
        crew.do(errands, finish=True)
    except Refusal as error:
        return Sent(sorted(indexes), _ended(error))
    except Ended as error:
        return Sent(sorted(indexes), ended=error)
    return Sent(sorted(indexes))


class _Fetching:
    """One file on its way in: what is there of it, and of which version that is."""

    def __init__(self, web: Web, crew: Crew, fetch: Fetch, number: int) -> None:
        self._web, self._crew, self._fetch = web, crew, fetch
        self._draft = "%s/%d" % (DRAFTS_DIR, number)
        self._got = 0
        self._size: Optional[int] = None
        self._version: Optional[str] = None
        self._resumes = False

    def carry_out(self) -> None:
        """Bring it in whole, from where it broke off wherever that can be."""
        target = _target(self._fetch.file)
        fd = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            self._crew.insist(lambda: self._go_on(fd), lambda: self._got)
        finally:
            os.close(fd)
        os.makedirs(os.path.dirname(target) or b".", exist_ok=True)
        os.rename(self._draft, target)

    def _go_on(self, fd: int) -> None:
        headers = {}
        if self._got and self._resumes:
            headers["Range"] = "bytes=%d-" % self._got
            if self._version is not None:
                headers["If-Range"] = self._version
        try:
            with self._web.get(self._fetch.url, headers) as answer:
                self._begin(fd, answer)
                self._take(fd, answer)
        except Refusal as error:
            if error.status != _CHANGED or not self._got:
                raise
            self._resumes = False
            raise Setback(str(error)) from error

    def _begin(self, fd: int, answer: Any) -> None:
        """Go on where the answer does; a version other than before begins anew."""
        headers = answer.headers
        version = headers.get("ETag")
        rest = re.match(r"bytes (\d+)-\d*/(\d+)", headers.get("Content-Range") or "")
        partial = answer.status == 206
        if rest is not None and partial:
            seen = (int(rest.group(1)), int(rest.group(2)), version)
            if seen != (self._got, self._size, self._version):
                self._resumes = False
                raise Setback("%s has changed meanwhile" % self._fetch.file)
        else:
            self._got = 0
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            length = headers.get("Content-Length") or ""
            self._size = int(length) if length.isdigit() else None
        ranges = headers.get("Accept-Ranges", "bytes" if version else "none").strip()
        self._resumes = self._size is not None and (partial or ranges == "bytes")
        self._version = version

    def _take(self, fd: int, answer: Any) -> None:
        while True:
            with translated(self._fetch.url):
                block = answer.read(BLOCK_BYTES)
            self._crew.check()
            if not block:
                break
            write_all(fd, block)
            self._got += len(block)
        if self._size is not None and self._got != self._size:
            raise Setback(
                "%s ended after %d of %d bytes" % (self._fetch.file, self._got, self._size)
            )


class _Sending:
    """One file on its way out."""

    def __init__(
        self, web: Web, crew: Crew, found: Found, url: str, index: int, sent: List[int]
    ) -> None:
        self._web, self._crew, self._found = web, crew, found
        query = urlencode({"output": found.output, "name": found.name, "size": found.size})
        self._url = url + ("&" if "?" in url else "?") + query
        self._index, self._sent = index, sent
        self._late = 0

    def carry_out(self) -> None:
        """Send it whole; where it goes is asked for each time, just before."""
        self._crew.insist(self._send)
        self._sent.append(self._index)

    def _send(self) -> None:
        with self._web.get(self._url) as answer, translated(self._url):
            text = answer.read()
        try:
            target = json.loads(text.decode("utf-8"))["url"]
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal("Where outputs go was not told: %r" % text[:200]) from error
        try:
            self._web.put(target or self._url, self._blocks(), self._found.size)
        except Refusal as error:
            self._late += 1
            if target is None or error.status != _EXPIRED or self._late > 2:
                raise
            raise Setback(str(error)) from error

    def _blocks(self) -> Iterator[bytes]:
        """The bytes of the file, as many as it had when it was found."""
        left = self._found.size
        try:
            file = open_regular(".", self._found.file)
        except (Refused, OSError) as error:
            raise Refusal("%s cannot be read: %s" % (self._found.path, error)) from error
        with file:
            while left:
                self._crew.check()
                block = file.read(min(left, BLOCK_BYTES))
                if not block:
                    raise Refusal("%s has changed while it was sent" % self._found.path)
                left -= len(block)
                yield block


def _target(file: str) -> bytes:
    target = encode(file)
    if target.startswith(b"/") or b".." in target.split(b"/"):
        raise Refusal("%r is not a plain relative path" % file)
    return target


def _ended(error: Exception) -> str:
    return str(error).rstrip(".") + "."
