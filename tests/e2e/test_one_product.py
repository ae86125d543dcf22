"""From a mail of a compute node to a browser: every part does its share of one chain."""

import smtplib
import uuid
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.contract.ingress.mails import line
from tests.peers.bus_programs import bus_program
from tests.peers.event_stream import EventStream
from tests.peers.mosquitto import MosquittoServer
from tests.peers.pulsar_amqp import AmqpPulsarServer
from tests.peers.room import answers, free_port, wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import TespServer

CARD = "JobName=historical\n$(touch /tmp/pwned)\n"
TRIGGER = {
    "name": "simulation",
    "topic": "tesp/prodiguer/+/0000/status",
    "trusted_only": False,
    "task": {
        "name": "analysis",
        "executors": [
            {
                "image": "i",
                "command": ["bash", "-c", 'printf "%s" "$CARD"'],
                "env": {"CARD": "{configuration}"},
            }
        ],
    },
}


def mail_with_an_attachment(port: int, simulation: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "node@hpc.example", "in@tes.example", "messages"
    mail.set_content(line("start-1", "0000", simuid=simulation) + "\n")
    kind = {"maintype": "application", "subtype": "octet-stream"}
    mail.add_attachment(CARD.encode(), **kind, filename="config.card")
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as smtp:
        smtp.send_message(mail)


def tasks(server: TespServer) -> list[dict[str, Any]]:
    params = {"tag_key": "trigger", "tag_value": "simulation"}
    found: list[dict[str, Any]] = server.client.get("/tasks", params=params).json()["tasks"]
    return found


def test_a_mail_starts_a_task_on_a_pulsar_whose_end_starts_a_command_elsewhere(
    start_server: StartServer,
    own_mosquitto: MosquittoServer,
    amqp_pulsar: AmqpPulsarServer,
    tmp_path: Path,
) -> None:
    port, simulation = free_port(), str(uuid.uuid4())
    pulsar = {"amqp_url": amqp_pulsar.broker.url, "manager": amqp_pulsar.manager}
    server = start_server(
        pulsars=[{"name": "p", "runtime": "sandbox", **pulsar}],
        bus={"brokers": [{"name": "site", "url": own_mosquitto.url, "client_id": "tesp"}]},
        ingress={"smtp": {"enabled": True, "port": port}},
        triggers=[TRIGGER],
    )
    topic = "tesp/infrastructure/pipelines/analysis/status"
    command = 'echo "$TAEL_TASK $TAEL_STATE" >seen'
    words = ["listen", "-t", topic, "-c", command, "--who", "downstream"]
    host = ["--host", own_mosquitto.url, "--mqtt-env", "tesp"]
    with (
        bus_program(tmp_path / "elsewhere", *words, *host) as listener,
        own_mosquitto.listening("tesp/infrastructure/pipelines/downstream/status", 2) as announced,
        EventStream(f"{server.url}/events") as stream,
    ):
        listener.wait_for_log("Listens to", 2)
        wait_until(lambda: answers(port), "the way in for mails")
        mail_with_an_attachment(port, simulation)
        wait_until(lambda: tasks(server), "a task")
        task = server.wait(tasks(server)[0]["id"])
        shown = stream.take(4)
        told = announced.lines()
    assert task["state"] == "COMPLETE", task
    assert task["logs"][0]["metadata"]["backend"] == "p"
    assert task["logs"][0]["logs"][0]["stdout"] == CARD
    assert (tmp_path / "elsewhere/seen").read_text() == f"{task['id']} COMPLETE\n"
    assert [one.payload["status"] for one in shown][-1] == "finished"
    assert {one.payload["correlation_id"] for one in shown} == {simulation}
    assert all(simulation in one for one in told)
