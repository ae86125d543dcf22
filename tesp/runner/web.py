"""HTTP as errands need it: one exchange, and whether what went wrong may pass by itself."""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, Optional
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 60.0  # without a byte
_PASSING = (408, 425, 429)  # beside those from 500 on
_LONGEST_PROBLEM = 1 << 16


class Refusal(Exception):
    """The answer is no: asking again does not help. The message is a sentence."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


class Setback(Exception):
    """It went wrong and may go well the next time. The message is a sentence.

    `told`: the service itself says what went wrong, behind it.
    """

    def __init__(self, sentence: str, told: bool = False) -> None:
        super().__init__(sentence)
        self.told = told


class Web:
    """Makes exchanges; it may be used from several threads."""

    def __init__(self) -> None:
        self._opener = urllib.request.build_opener(_Plain, _Secured, _Redirects)

    @contextmanager
    def get(self, url: str, headers: Optional[Dict[str, str]] = None) -> Iterator[Any]:
        """The answer to a GET, wherever it was redirected to; raises Refusal or Setback.

        It is read within `translated`.
        """
        with translated(url):
            answer = self._open(urllib.request.Request(url, headers=headers or {}))
        with answer:
            yield answer

    def put(self, url: str, blocks: Iterable[bytes], size: int) -> None:
        """Send a body of a known size; raises Refusal or Setback."""
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        request = urllib.request.Request(url, blocks, headers, method="PUT")
        with translated(url), self._open(request) as answer:
            answer.read()

    def _open(self, request: urllib.request.Request) -> Any:
        return self._opener.open(request, timeout=TIMEOUT_SECONDS)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """What an exchange raises, as Refusal or Setback with a sentence that shows no key."""
    host = "%s://%s" % urlsplit(url)[:2]
    try:
        yield
    except urllib.error.HTTPError as error:
        detail = _detail(error)
        sentence = detail or "%s answers %d %s" % (host, error.code, error.reason)
        if error.code >= 500 or error.code in _PASSING:
            raise Setback(sentence, detail is not None) from error
        raise Refusal(sentence, error.code) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        sentence = "%s cannot be reached from this node: %s" % (host, _words(reason))
        if isinstance(reason, ssl.SSLError) and "CERTIFICATE_VERIFY" in str(reason):
            raise Refusal(sentence) from error
        raise Setback(sentence) from error


def _detail(error: urllib.error.HTTPError) -> Optional[str]:
    """What a server says of its refusal, where it is a problem document's detail."""
    try:
        problem = json.loads(error.read(_LONGEST_PROBLEM).decode("utf-8"))
    except (OSError, http.client.HTTPException, ValueError):
        problem = None
    detail = problem.get("detail") if isinstance(problem, dict) else None
    return detail if isinstance(detail, str) and detail else None


def _words(reason: Any) -> str:
    return str(reason) or type(reason).__name__


class _Patient:
    """Reads the answer of a server that did not take the whole body: it says why."""

    def request(self, *args: Any, **options: Any) -> None:
        connection: Any = super()
        try:
            connection.request(*args, **options)
        except (BrokenPipeError, ConnectionResetError):
            if getattr(self, "sock", None) is None:
                raise


class _Connection(_Patient, http.client.HTTPConnection):
    pass


class _SecuredConnection(_Patient, http.client.HTTPSConnection):
    pass


class _Plain(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Connection, req)


class _Secured(urllib.request.HTTPSHandler):
    """Reads the machine's certificates once."""

    _certificates: Optional[ssl.SSLContext] = None

    def https_open(self, req: urllib.request.Request) -> Any:
        if self._certificates is None:
            self._certificates = ssl.create_default_context()
        return self.do_open(_SecuredConnection, req, context=self._certificates)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Knows 308 as well, which urllib does since Python 3.11."""

    def http_error_308(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        return self.http_error_302(req, fp, 307, msg, headers)
