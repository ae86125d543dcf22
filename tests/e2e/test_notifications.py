"""A real service tells people of its tasks: by mail, and by SMS."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.peers.exim import NOBODY, PASSWORD, USER, EximServer
from tests.peers.hook_server import HookServer
from tests.peers.room import wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import Document, TespServer

URL = "https://tes.example"


@pytest.fixture
def gateway() -> Iterator[HookServer]:
    with HookServer() as server:
        yield server


def task(name: str, *command: str) -> dict[str, Any]:
    return {"name": name, "executors": [{"image": "i", "command": list(command)}]}


def notifying(exim: EximServer, gateway: HookServer) -> dict[str, Any]:
    """A server and a gateway, and one rule of all defaults."""
    mail = {"host": "127.0.0.1", "port": exim.guarded_port, "sender": "tesp@tes.example"}
    login = {"username": USER, "password": PASSWORD, "ca_file": exim.certificate.path}
    rule = {"name": "ops", "email": [NOBODY, "ops@tes.example"], "sms": ["+420123456789"]}
    sms = {"url": gateway.url, "headers": {"Authorization": "Bearer sesame"}}
    return {"mail": mail | login, "sms": sms, "rules": [rule]}


def test_a_task_that_fails_is_told_with_its_reason_and_one_that_does_well_is_not(
    start_server: StartServer,
    store_settings: dict[str, Any],
    exim: EximServer,
    gateway: HookServer,
) -> None:
    server = start_server(
        store=store_settings,
        server={"public_url": URL},
        notifications=notifying(exim, gateway),
    )
    assert server.run(task("does well", "true"))["state"] == "COMPLETE"
    failed = failing(server, "fails\r\nBcc: evil@example.org")
    (mail,) = exim.mails_when(1)
    assert mail["Subject"] == "tesp: EXECUTOR_ERROR: fails Bcc: evil@example.org"
    assert (mail["Envelope-to"], mail["Bcc"]) == ("ops@tes.example", None)
    text = mail.get_content()
    assert f"See: {URL}/ga4gh/tes/v1/tasks/{failed['id']}?view=FULL\n" in text
    (reason,) = [line for line in text.splitlines() if line.startswith("Reason: ")]
    assert "7" in reason
    wait_until(lambda: gateway.got, "an SMS")
    (posted,) = gateway.got
    assert posted.headers["Authorization"] == "Bearer sesame"
    assert posted.payload["to"] == "+420123456789"
    assert posted.payload["text"].startswith("tesp: EXECUTOR_ERROR: fails Bcc")
    wait_until(lambda: f"{NOBODY} is not told" in server.log.read_text(), "who is left out is told")
    assert PASSWORD not in server.log.read_text()


def test_a_mail_server_that_is_away_delays_no_task_and_gets_all_after_a_restart(
    start_server: StartServer, exim: EximServer, gateway: HookServer
) -> None:
    exim.stop()
    server = start_server(notifications=notifying(exim, gateway))
    ids = [failing(server, name)["id"] for name in ("one", "two")]
    wait_until(lambda: len(gateway.got) == 2, "both by SMS")
    server.kill()
    exim.start()
    server.start()
    mails = exim.mails_when(2)
    assert {mail["Subject"].rpartition(" ")[2] for mail in mails} == {"one", "two"}
    assert {line for mail in mails for line in mail.get_content().splitlines()} >= {
        f"Task: {one}" for one in ids
    }
    assert len(mails) == 2


def test_a_mail_server_that_never_answers_delays_neither_tasks_nor_the_end(
    start_server: StartServer, gateway: HookServer
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        silent.settimeout(60)
        mail = {"host": "127.0.0.1", "port": silent.getsockname()[1], "security": "none"}
        mail |= {"sender": "tesp@tes.example", "timeout_seconds": 600.0}
        rules = [{"name": f"r{n}", "email": ["ops@tes.example"]} for n in range(40)]
        last = {"name": "last", "sms": ["+420123456789"]}
        server = start_server(
            notifications={"mail": mail, "sms": {"url": gateway.url}, "rules": [*rules, last]}
        )
        failing(server, "fails")
        peers = [silent.accept() for _ in rules]
        wait_until(lambda: gateway.got, "an SMS")
        assert server.run(task("does well", "true"))["state"] == "COMPLETE"
        assert server.stop() == 0
    for peer, _ in peers:
        peer.close()


def failing(server: TespServer, name: str) -> Document:
    """A task that fails with code 7."""
    ended = server.run(task(name, "sh", "-c", "exit 7"))
    assert ended["state"] == "EXECUTOR_ERROR"
    return ended
