"""What comes in beside the brokers, by every way, goes on to those who are to have it."""

import json
import os
import re
import smtplib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tesp import signature
from tests.contract.bus.harness import GUEST
from tests.contract.ingress.events import event, ivorn
from tests.contract.ingress.mails import USER, line, mail
from tests.peers.mosquitto import MosquittoServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import answers, free_port, wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.subscribers import AmqpSubscriber
from tests.peers.tesp_server import TespServer

SECRET = "0123456789abcdef"
LOOPBACK = ["127.0.0.0/8"]
DOCUMENT = Path(__file__).parents[2] / "docs/ingress.md"
PROGRAM = Path(sys.executable).with_name("tesp")


def trigger(prefix: str, name: str, **more: Any) -> dict[str, Any]:
    task = {"name": name, "executors": [{"image": "i", "command": ["true"]}]}
    return {"name": name, "topic": f"{prefix}/+/status", "task": task, **more}


def broker(name: str, rabbitmq: RabbitmqServer) -> dict[str, Any]:
    return {"name": name, "url": f"amqp://127.0.0.1:{rabbitmq.port}", **GUEST}


def tasks(server: TespServer, name: str) -> list[Any]:
    params = {"tag_key": "trigger", "tag_value": name}
    found: list[Any] = server.client.get("/tasks", params=params).json()["tasks"]
    return found


def post(server: TespServer, hook: str, secret: str | None, **said: Any) -> httpx.Response:
    body = json.dumps(said).encode()
    headers = {}
    if secret is not None:
        headers[signature.HEADER] = signature.signed(secret.encode(), body, time.time())
    url = f"{server.url}/ingress/webhook/{hook}"
    return httpx.post(url, content=body, headers=headers, timeout=60)


def send(port: int, *lines: str, login: bool = False) -> bytes:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as smtp:
        if login:
            smtp.login(USER["username"], USER["password"])
        smtp.send_message(mail(*lines))
        return smtp.noop()[1]


def test_what_is_vouched_for_comes_to_a_broker_by_every_way(
    start_server: StartServer, rabbitmq: RabbitmqServer, prefix: str, tmp_path: Path
) -> None:
    smtp, voevents = free_port(), free_port()
    server = start_server(
        bus={"prefix": prefix, "brokers": [broker("site", rabbitmq)]},
        ingress={
            "smtp": {"enabled": True, "port": smtp, "users": [USER], "allow_anonymous": True},
            "voevent": {"receive": True, "receive_port": voevents, "trusted_networks": LOOPBACK},
            "webhooks": [
                {"name": "lab", "topic": f"{prefix}/lab/status", "secret": SECRET},
                {"name": "open", "topic": f"{prefix}/open/status"},
            ],
        },
    )
    assert "ingress.webhooks.open: nobody vouches" in server.log.read_text()
    assert "ingress.smtp: nobody" not in server.log.read_text()
    wait_until(lambda: answers(smtp) and answers(voevents), "the ways in")
    burst = tmp_path / "burst.xml"
    burst.write_bytes(event())
    with AmqpSubscriber.listening(rabbitmq.url, f"q-{prefix}") as heard:
        # What goes to no broker goes first.
        send(smtp, line("m-0", "0000"))
        assert post(server, "open", None, message_id=f"{prefix}-open").status_code == 202
        assert post(server, "lab", "another secret!!", message_id="no").status_code == 401
        send(smtp, line("m-1", "0000", jobuid=prefix), login=True)
        submit = [PROGRAM, "bus", "send", "--voevent", burst, "--to", f"127.0.0.1:{voevents}"]
        subprocess.run(submit, check=True, timeout=60)
        assert post(server, "lab", SECRET, message_id=f"{prefix}-lab").status_code == 202
        wanted = {"m-1", f"{prefix}-lab"}
        wait_until(lambda: heard.ids >= wanted and about(heard, burst), "all of it")
    told = subprocess.run(
        [PROGRAM, "bus", "mails", "--json", "--data", server.data],
        capture_output=True,
        check=True,
        timeout=60,
    )
    counts = [(one["received"], one["delivered"]) for one in json.loads(told.stdout)]
    assert counts == [(1, 1), (1, 1)]
    assert not heard.ids & {"m-0", "no", f"{prefix}-open"}
    by_id = {one.id: one for one in heard.messages}
    mailed = by_id["m-1"]
    assert mailed.key.endswith(".libigcm.monitoring.0000")
    assert (mailed.payload["jobuid"], "email_id" in mailed.headers) == (prefix, True)
    assert by_id[f"{prefix}-lab"].key == f"{prefix}.lab.status"


def test_a_webhook_is_signed_as_its_document_says(start_server: StartServer, prefix: str) -> None:
    (script,) = re.findall(r"```sh\n(body=.*?)```", DOCUMENT.read_text(), re.DOTALL)
    hook = {"name": "lab", "topic": f"{prefix}/lab/status", "secret": SECRET}
    rule = {**trigger(prefix, "run"), "when": {"run": "r-17"}}
    server = start_server(bus={"prefix": prefix}, ingress={"webhooks": [hook]}, triggers=[rule])
    here = script.replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", here],
        env={**os.environ, "SECRET": SECRET},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert "id" in json.loads(done.stdout), done.stdout
    wait_until(lambda: len(tasks(server, "run")) == 1, "it is believed")


def about(heard: AmqpSubscriber, burst: Path) -> bool:
    """Whether a message came of this event."""
    return any(one.payload.get("ivorn") == ivorn(burst.read_bytes()) for one in heard.messages)


def test_a_broker_that_is_dead_is_in_nobodys_way_and_gets_its_own_when_it_is_back(
    start_server: StartServer,
    own_mosquitto: MosquittoServer,
    rabbitmq: RabbitmqServer,
    prefix: str,
    tmp_path: Path,
) -> None:
    own_mosquitto.stop()
    count = tmp_path / "count"
    rules = [
        trigger(prefix, "trusted"),
        trigger(prefix, "open", trusted_only=False),
        {
            "name": "count",
            "topic": f"{prefix}/+/status",
            "command": ["sh", "-c", f"echo ran >>{count}"],
        },
    ]
    server = start_server(
        bus={
            "prefix": prefix,
            "brokers": [
                {"name": "dead", "url": own_mosquitto.url},
                {**broker("live", rabbitmq), "trusted": True},
            ],
        },
        ingress={
            "webhooks": [
                {"name": "lab", "topic": f"{prefix}/lab/status", "secret": SECRET},
                {"name": "open", "topic": f"{prefix}/open/status"},
            ]
        },
        triggers=rules,
    )
    ids = [f"{prefix}-{number}" for number in range(3)]
    with AmqpSubscriber.listening(rabbitmq.url, f"q-{prefix}", f"{prefix}.lab.#") as live:
        for one in ids:
            assert post(server, "lab", SECRET, message_id=one).status_code == 202
        assert post(server, "open", None, message_id=f"{prefix}-open").status_code == 202
        wait_until(lambda: live.ids == set(ids), "the broker that lives has them")
    wait_until(lambda: len(tasks(server, "open")) == 4, "who takes all has all")
    wait_until(lambda: len(tasks(server, "trusted")) == 3, "who takes what is trusted has that")
    wait_until(lambda: waiting(server)["dead"] == 3, "it is told what waits")
    server.kill()
    own_mosquitto.start()
    with own_mosquitto.listening(f"{prefix}/lab/status", 3) as late:
        server.start()
        lines = late.lines()
    assert [json.loads(one.partition(" ")[2])["message_id"] for one in lines] == ids
    wait_until(lambda: waiting(server)["dead"] == 0, "nothing waits")
    # What came back from the broker that lives was known.
    assert count.read_text() == "ran\n" * 3
    assert [len(tasks(server, name)) for name in ("trusted", "open")] == [3, 4]


def waiting(server: TespServer) -> dict[str, int]:
    """How many messages wait for whom."""
    brokers = httpx.get(f"{server.url}/queues", timeout=60).json()["brokers"]
    found = [one for one in brokers if one["name"].startswith("ingress@")]
    return {queue["name"]: queue["messages"] for one in found for queue in one["queues"]}
