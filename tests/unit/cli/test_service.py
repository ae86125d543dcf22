"""The HTTP client of the command line, against servers that fail in ways of their own."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from tesp.cli.address import Credentials
from tesp.cli.service import Service, refusal
from tesp.errors import Conflict, InvalidTask, NotFound, RequestRefused, ServiceUnreachable
from tesp.tes.states import State

Answer = Callable[[str], bytes | None]


def http(status: int, body: object, *headers: str) -> bytes:
    text = json.dumps(body).encode()
    lines = (f"Content-Length: {len(text)}", "Connection: close", *headers)
    head = f"HTTP/1.1 {status} X\r\n" + "\r\n".join(lines) + "\r\n\r\n"
    return head.encode() + text


@contextmanager
def peer(*answers: bytes | None) -> Iterator[tuple[str, list[str]]]:
    """A server that gives one answer a connection (None: cuts it), then listens no more."""
    requests: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def serve() -> None:
            for answer in answers:
                connection, _ = listening.accept()
                with connection:
                    requests.append(connection.recv(65536).decode())
                    if answer is not None:
                        connection.sendall(answer)
            listening.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield url, requests


def test_a_creation_that_was_cut_is_repeated_under_the_same_key() -> None:
    notes: list[str] = []
    with (
        peer(None, http(200, {"id": "made"})) as (url, requests),
        Service(url, Credentials(), notes.append) as service,
    ):
        assert service.create({"executors": []}, "key-1") == "made"
    assert len(requests) == 2
    assert all("key-1" in request for request in requests)
    assert len(notes) == 1


def test_a_service_that_went_away_is_waited_for_and_then_given_up() -> None:
    notes: list[str] = []
    with (
        peer(http(200, {"id": "i", "state": "QUEUED"})) as (url, _),
        Service(url, Credentials(), notes.append, patience_seconds=2.0) as service,
    ):
        assert service.task("i")["state"] == "QUEUED"
        with pytest.raises(ServiceUnreachable, match="does not answer"):
            service.task("i")
    assert len(notes) == 1


def test_a_proxy_whose_service_starts_again_is_waited_for() -> None:
    with (
        peer(http(503, {}), http(502, {}), http(200, {"id": "i"})) as (url, _),
        Service(url, Credentials(), lambda _: None) as service,
    ):
        assert service.task("i") == {"id": "i"}


def test_a_service_that_never_answered_is_not_waited_for() -> None:
    notes: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with (
        Service(url, Credentials(), notes.append) as service,
        pytest.raises(ServiceUnreachable),
    ):
        service.task("i")
    assert notes == []


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        (Credentials(token="t"), "authorization: bearer t"),
        (Credentials(basic=("alice", "p")), "authorization: basic ywxpy2u6ca=="),
    ],
)
def test_credentials_are_sent(credentials: Credentials, header: str) -> None:
    with (
        peer(http(200, {"id": "i"})) as (url, requests),
        Service(url, credentials, lambda _: None) as service,
    ):
        service.task("i")
    assert header in requests[0].lower()


def test_an_id_cannot_lead_to_another_path() -> None:
    with (
        peer(http(404, {"detail": "none"})) as (url, requests),
        Service(url, Credentials(), lambda _: None) as service,
        pytest.raises(NotFound),
    ):
        service.task("../service-info?x")
    assert requests[0].startswith("GET /tasks/..%2Fservice-info%3Fx?view=MINIMAL ")


def test_pages_are_followed_up_to_the_limit() -> None:
    first = {"tasks": [{"id": "a"}, {"id": "b"}], "next_page_token": "on"}
    with (
        peer(http(200, first), http(200, first)) as (url, requests),
        Service(url, Credentials(), lambda _: None) as service,
    ):
        assert [t["id"] for t in service.tasks({"state": "QUEUED"}, 3)] == ["a", "b", "a"]
    assert "page_token=on" in requests[1]
    assert all("state=QUEUED" in request for request in requests)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, RequestRefused),
        (403, RequestRefused),
        (404, NotFound),
        (409, Conflict),
        (413, RequestRefused),
        (500, ServiceUnreachable),
    ],
)
def test_each_refusal_has_its_error(status: int, error: type[Exception]) -> None:
    told = refusal(httpx.Response(status, json={"detail": "because"}))
    assert type(told) is error
    assert "because" in str(told)


def test_a_refusal_with_fields_names_them_all() -> None:
    fields = [{"field": "a", "message": "x"}, {"field": "b", "message": "y"}]
    told = refusal(httpx.Response(400, json={"detail": "a: x", "errors": fields}))
    assert isinstance(told, InvalidTask)
    assert [p.field for p in told.problems] == ["a", "b"]


def test_a_refusal_that_is_no_json_is_told_by_its_status() -> None:
    assert "Bad Gateway" in str(refusal(httpx.Response(502, text="<html>")))


def test_a_service_that_says_it_can_wait_is_asked_to_and_another_one_never() -> None:
    queued = {"id": "i", "state": "QUEUED"}
    running = http(200, {"id": "i", "state": "RUNNING"})
    with (
        peer(http(200, queued, "Tesp-Wait: 60"), running) as (url, requests),
        Service(url, Credentials(), lambda _: None) as service,
    ):
        service.task("i")
        service.linger("i", State.QUEUED, 20.0)
    assert "wait=20.0&since=QUEUED " in requests[1]
    with (
        peer(http(200, queued)) as (url, requests),
        Service(url, Credentials(), lambda _: None) as service,
    ):
        service.task("i")
        service.linger("i", State.QUEUED, 0.01)
    assert len(requests) == 1
