"""`tesp bus send --smtp`: from a node, over a centre's relay, to a service; nothing is lost."""

import base64
import json
import shlex
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.bus_programs import bus
from tests.peers.event_stream import EventStream
from tests.peers.exim import NOBODY, PASSWORD, USER, EximServer
from tests.peers.mail_fixtures import StartRelay
from tests.peers.room import answers, free_port, wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import TespServer

TO = ["--mail-to", "in@tes.example", "--mail-from", "node@hpc.example"]
CARD = b"[UserChoices]\nJobName=historical\r\n\n"
SIMULATION = str(uuid.uuid4())


def server_with_a_mailbox(
    start_server: StartServer, task: dict[str, Any]
) -> tuple[TespServer, int]:
    """It starts a task for each message; and its mailbox's port."""
    port = free_port()
    trigger = {"name": "m", "topic": "tesp/prodiguer/#", "trusted_only": False, "task": task}
    server = start_server(
        ingress={"smtp": {"enabled": True, "port": port}}, triggers=[trigger], local={"slots": 1}
    )
    wait_until(lambda: answers(port), "the way in for mails")
    return server, port


def lines(*numbers: int) -> str:
    """A batch."""
    return "".join(
        json.dumps({"msgUID": f"m-{n}", "simuid": SIMULATION, "n": n}) + "\n" for n in numbers
    )


def begun(stream: EventStream) -> Iterator[str]:
    """The names of tasks, as they are made."""
    return (one.payload["name"] for one in stream if one.payload["state"] == "QUEUED")


def in_mails(exim: EximServer, count: int) -> list[list[dict[str, Any]]]:
    """What the mails say that came, each a list of messages."""
    texts = [mail.get_body().get_content() for mail in exim.mails_when(count)]  # type: ignore[union-attr]
    return [[json.loads(base64.b64decode(line)) for line in text.split()] for text in texts]


def test_a_message_with_a_file_goes_over_a_relay_and_starts_a_task(
    start_server: StartServer, start_relay: StartRelay, tmp_path: Path
) -> None:
    task = {
        "name": "{jobuid} of {msgProducer}",
        "inputs": [{"path": "/data/card", "content": "{configuration}"}],
        "executors": [{"image": "i", "command": ["od", "-An", "-c", "/data/card"]}],
    }
    server, port = server_with_a_mailbox(start_server, task)
    relay = start_relay(port)
    (tmp_path / "config.card").write_bytes(CARD)
    with EventStream(f"{server.url}/events") as stream:
        done = bus(
            tmp_path,
            *("send", "--smtp", f"{USER}@127.0.0.1:{relay.guarded_port}", "--starttls", *TO),
            *("--ca-file", relay.certificate.path, "--attach", "config.card"),
            *("--attr", "msgCode", "0000", "--attr", "simuid", SIMULATION),
            *("--attr", "jobuid", "job-1", "--attr", "msgProducer", "libIGCM"),
            TESP_BUS_PASSWORD=PASSWORD,
        )
        assert done.returncode == 0, done.stderr
        events = stream.take(4)
    assert {one.payload["correlation_id"] for one in events} == {SIMULATION}
    assert {one.payload["name"] for one in events} == {"job-1 of libIGCM"}
    ended = server.wait(events[0].payload["task"])
    shown = "".join(ended["logs"][0]["logs"][0]["stdout"].split())
    assert r"JobName=historical\r\n\n" in shown
    assert shown.startswith(r"[UserChoices]\n")


def test_what_no_relay_took_comes_later_in_order_and_once(
    start_server: StartServer, start_relay: StartRelay, tmp_path: Path
) -> None:
    task = {"name": "{n}", "executors": [{"image": "i", "command": ["true"]}]}
    server, port = server_with_a_mailbox(start_server, task)
    relay = start_relay(port)
    way = ["--smtp", f"127.0.0.1:{relay.port}", *TO]
    with EventStream(f"{server.url}/events") as stream:
        names = begun(stream)
        assert bus(tmp_path, "send", *way, "--batch", "-", told=lines(0)).returncode == 0
        assert next(names) == "0"
        relay.stop()
        away = bus(tmp_path, "send", *way, "--batch", "-", told=lines(1, 2))
        assert (away.returncode, "waits on disk" in away.stderr) == (75, True), away.stderr
        assert bus(tmp_path, "send", *way, "--attr", "n", "3").returncode == 75
        assert bus(tmp_path, "flush", *way).returncode == 75
        relay.start()
        assert bus(tmp_path, "flush", *way).returncode == 0
        assert [next(names) for _ in range(3)] == ["1", "2", "3"]
        # What comes again is known by its id.
        (tmp_path / "batch").write_text(lines(2, 0, 1, 4))
        assert bus(tmp_path, "send", *way, "--batch", "batch").returncode == 0
        assert next(names) == "4"


def test_a_relay_that_says_later_overtakes_nothing(exim: EximServer, tmp_path: Path) -> None:
    way = ["--smtp", f"127.0.0.1:{exim.port}", *TO]
    exim.is_busy(True)
    assert bus(tmp_path, "send", *way, "--attr", "msgUID", "m-1").returncode == 75
    exim.is_busy(False)
    assert bus(tmp_path, "send", *way, "--attr", "msgUID", "m-2").returncode == 0
    (messages,) = in_mails(exim, 1)
    assert [one["msgUID"] for one in messages] == ["m-1", "m-2"]


def test_a_batch_goes_in_mails_of_a_bounded_size(exim: EximServer, tmp_path: Path) -> None:
    way = ["--smtp", f"127.0.0.1:{exim.port}", *TO, "--mail-bytes", "2000"]
    done = bus(tmp_path, "send", *way, "--batch", "-", told=lines(*range(10)))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: sum(map(len, in_mails(exim, 1))) == 10, "all of them")
    mails = in_mails(exim, 1)
    assert 3 <= len(mails) <= 5
    for messages in mails:
        numbers = [one["n"] for one in messages]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    one = mails[0][0]
    assert (one["simuid"], one["msgCode"], one["msgProducer"]) == (SIMULATION, "1001", "tesp")


def test_a_user_logs_in_over_tls_from_the_beginning(exim: EximServer, tmp_path: Path) -> None:
    trust = ["--ca-file", exim.certificate.path]
    way = ["--smtp", f"smtps://{USER}@127.0.0.1:{exim.tls_port}", *TO, *trust]
    assert bus(tmp_path, "send", *way, TESP_BUS_PASSWORD=PASSWORD).returncode == 0
    refused = bus(tmp_path, "send", *way, TESP_BUS_PASSWORD="wrong")
    assert (refused.returncode, "535" in refused.stderr) == (2, True), refused.stderr
    assert bus(tmp_path, "send", *way[:-2], TESP_BUS_PASSWORD=PASSWORD).returncode == 2
    assert len(exim.mails_when(1)) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mail-to", NOBODY], "no such person"),
        (["--attr", "simuid", "7"], "simuid is no UUID"),
        (["--attach", "card"], "--attr msgCode of"),
        (["--attr", "msgCode", "0000", "--attach", "card", "--attach", "card"], "takes one file"),
        (["--batch", "bad"], "line 2 is no JSON"),
        (["--batch", "dropped"], "message 2: simuid is no UUID"),
    ],
)
def test_what_can_never_be_taken_is_refused_and_does_not_wait(
    exim: EximServer, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "card").write_text("x")
    (tmp_path / "bad").write_text('{"n": 1}\n{"n": 2\n')
    (tmp_path / "dropped").write_text('{"n": 1}\n{"simuid": "x"}\n')
    way = ["--smtp", f"127.0.0.1:{exim.port}", *TO]
    done = bus(tmp_path, "send", *way, *words)
    assert (done.returncode, said in done.stderr.replace("\n", " ")) == (2, True), done.stderr
    waiting = list(tmp_path.rglob("spool/*/messages"))
    assert [file for file in waiting if file.stat().st_size] == []
    assert exim.mails() == []


def test_a_mail_that_is_refused_for_what_it_says_stops_no_other_that_waits(
    exim: EximServer, tmp_path: Path
) -> None:
    way = ["--smtp", f"127.0.0.1:{exim.port}", *TO]
    exim.is_busy(True)
    assert bus(tmp_path, "send", *way, "--attr", "msgUID", "m-1").returncode == 75
    exim.is_busy(False)
    exim.is_strict(True)
    assert bus(tmp_path, "flush", *way).returncode == 0
    # What did not wait is told to who sends it.
    refused = bus(tmp_path, "send", *way, "--attr", "msgUID", "m-2")
    assert (refused.returncode, "advertisement" in refused.stderr) == (2, True), refused.stderr
    (aside,) = tmp_path.rglob("spool/*/refused")
    assert [json.loads(line)["message"]["id"] for line in aside.read_text().splitlines()] == ["m-1"]
    exim.is_strict(False)
    assert bus(tmp_path, "send", *way, "--attr", "msgUID", "m-3").returncode == 0
    (messages,) = in_mails(exim, 1)
    assert [one["msgUID"] for one in messages] == ["m-3"]


def test_the_command_of_the_document_sends_what_it_says(exim: EximServer, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/bus.md").read_text()
    script = text.split("<!-- mail sender -->\n```sh\n")[1].split("```")[0]
    (tmp_path / "config.card").write_bytes(CARD)
    script = script.replace("\\\n", "").replace("relay.example", f"127.0.0.1:{exim.port}")
    argv = shlex.split(script)
    done = bus(tmp_path, *argv[2:])
    assert done.returncode == 0, done.stderr
    (mail,) = exim.mails_when(1)
    (file,) = mail.iter_attachments()
    assert (file.get_filename(), file.get_content()) == ("config.card", CARD)
    ((message,),) = in_mails(exim, 1)
    assert (message["msgCode"], message["jobuid"]) == ("0000", "4711")
    assert message["simuid"] in script
