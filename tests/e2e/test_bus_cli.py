"""Tael's tools against a real broker, with its own programs at the other end."""

import json
import os
import pty
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from tests.peers.bus_programs import (
    FINISHED,
    PROGRAM,
    BusProgram,
    bus,
    bus_program,
    own,
    said,
)
from tests.peers.mosquitto import PASSWORD, USER, MosquittoServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import free_port, wait_until


def test_what_is_sent_is_an_object_with_the_user_and_the_time(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    topic = f"{prefix}/elan/status"
    attributes = ["--attr", "status", "finished", "--attr", "date", "-20200716"]
    with mosquitto.listening(topic, 1) as there:
        place = ["--host", f"127.0.0.1:{mosquitto.port}"]
        done = bus(tmp_path, "send", "-t", topic, *attributes, *place, LOGNAME="sam")
        (payload,) = said(there.lines())
    assert done.returncode == 0, done.stderr
    assert own(payload) == {"user": "sam", "status": "finished", "date": "-20200716", "hops": 0}
    assert list(payload)[-1] == "status"
    assert abs(payload["ts"] - datetime.now(UTC).timestamp()) < 120


def test_what_is_sent_while_no_broker_is_there_comes_later_in_order(
    own_mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    place = ["-t", f"{prefix}/elan/status", "--host", own_mosquitto.url]
    own_mosquitto.stop()
    for number in range(2):
        done = bus(tmp_path, "send", *place, "--attr", "n", str(number))
        assert done.returncode == 75
        assert "waits on disk" in done.stderr
    own_mosquitto.start()
    with own_mosquitto.listening(f"{prefix}/#", 3) as there:
        assert bus(tmp_path, "send", *place, "--attr", "n", "2").returncode == 0
        assert [payload["n"] for payload in said(there.lines())] == ["0", "1", "2"]


def test_what_waits_on_disk_can_be_sent_by_itself(
    own_mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    place = ["--host", own_mosquitto.url, "--spool", str(tmp_path / "spool")]
    own_mosquitto.stop()
    assert bus(tmp_path, "send", "-t", f"{prefix}/a", *place).returncode == 75
    assert bus(tmp_path, "flush", *place).returncode == 75
    # An order that comes hours later is worse than none.
    assert bus(tmp_path, "raise", "elan", *place[:2], "--mqtt-env", prefix).returncode == 5
    own_mosquitto.start()
    with own_mosquitto.listening(f"{prefix}/#", 1) as there:
        assert bus(tmp_path, "flush", *place).returncode == 0
        assert there.lines()[0].startswith(f"{prefix}/a ")


def test_the_beacon_says_date_and_time_in_utc(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    place = ["--host", mosquitto.url, "--mqtt-env", prefix, "--every", "0.2"]
    with (
        mosquitto.listening(f"{prefix}/test/beacon/status", 2) as there,
        bus_program(tmp_path, "beacon", *place, TZ="Asia/Tokyo") as program,
    ):
        first, second = said(there.lines())
        assert program.stop() == 0
    assert first["status"] == second["status"] == "finished"
    now = datetime.now(UTC)
    said_at = datetime.strptime(first["date"] + first["time"], "%Y%m%d%H%M%S")
    assert abs((now - said_at.replace(tzinfo=UTC)).total_seconds()) < 120


def test_watch_leaves_out_tests_and_other_statuses(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    place = ["--host", mosquitto.url, "--mqtt-env", prefix]
    filters = ["--status", "failed", "--status", "finished", "--drop", "noise"]
    with (
        bus_program(tmp_path / "all", "watch", "--all", "--json", *place) as everything,
        bus_program(tmp_path / "some", "watch", *filters, *place) as some,
    ):
        wait_for_watchers(mosquitto, prefix, everything, some)
        mosquitto.send(f"{prefix}/test/beacon/status", FINISHED)
        mosquitto.send(f"{prefix}/noise/status", FINISHED)
        mosquitto.send(f"{prefix}/elan/status", '{"status": "started"}')
        announced = {"status": "failed", "announce": True, "x": "\x1b[2J\nnew line"}
        announced["secret"] = "rosebud"
        mosquitto.send(f"{prefix}/elan/status", json.dumps(announced))
        wait_until(lambda: "failed" in some.output, "it is shown")
        wait_until(lambda: "announce" in everything.output, "it is shown there")
        assert everything.stop() == some.stop(signal.SIGINT) == 0
    shown = [line for line in some.output.splitlines() if "hello" not in line]
    assert len(shown) == 1
    assert f"! {prefix}/elan/status  failed" in shown[0]
    assert "\x1b" not in shown[0]
    assert "rosebud" not in some.output + everything.output
    lines = [json.loads(line) for line in everything.output.splitlines()]
    topics = [line["topic"] for line in lines if "hello" not in line["topic"]]
    assert [t.removeprefix(prefix) for t in topics] == [
        "/test/beacon/status",
        "/noise/status",
        "/elan/status",
        "/elan/status",
    ]


def wait_for_watchers(mosquitto: MosquittoServer, prefix: str, *programs: BusProgram) -> None:
    """Greet them until all have seen it."""

    def greeted() -> bool:
        mosquitto.send(f"{prefix}/hello", FINISHED)
        return all("hello" in program.output for program in programs)

    wait_until(greeted, "they watch")


def test_watch_on_a_terminal_colours_by_status(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    parent, child = pty.openpty()
    argv = [PROGRAM, "bus", "watch", "--host", mosquitto.url, "--mqtt-env", prefix]
    environ = {**os.environ, "HOME": str(tmp_path), "TERM": "xterm-256color"}
    environ.pop("NO_COLOR", None)
    os.set_blocking(parent, False)
    process = subprocess.Popen(
        argv, stdin=child, stdout=child, stderr=subprocess.DEVNULL, env=environ, cwd=tmp_path
    )
    seen = b""

    def coloured() -> bool:
        nonlocal seen
        mosquitto.send(f"{prefix}/a/status", '{"status": "failed"}')
        try:
            seen += os.read(parent, 65536)
        except BlockingIOError:
            return False
        return f"{prefix}/a/status".encode() in seen

    try:
        wait_until(coloured, "it is shown")
    finally:
        process.kill()
        process.wait()
        os.close(parent)
        os.close(child)
    assert b"\x1b[1;31m" in seen


def test_the_password_is_that_of_the_variable_and_a_wrong_one_is_told(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    guarded = mosquitto.guarded_url.replace("//", f"//{USER}@")
    sending = ["send", "-t", f"{prefix}/a", "--host", guarded]
    assert bus(tmp_path, *sending, TESP_BUS_PASSWORD=PASSWORD).returncode == 0
    wrong = bus(tmp_path, *sending, TESP_BUS_PASSWORD="no")
    assert wrong.returncode == 2
    assert USER in wrong.stderr
    listening = ["listen", "-t", "a/status", "-c", "true", "--who", "w", "--host", guarded]
    assert bus(tmp_path, *listening, TESP_BUS_PASSWORD="no").returncode == 2
    visible = guarded.replace("@", ":secret@")
    refused = bus(tmp_path, "send", "-t", "a", "--host", visible)
    assert refused.returncode == 2
    assert "secret" not in refused.stderr


def test_the_broker_and_the_prefix_may_come_from_the_settings(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    brokers = f'[{{ name = "site", url = "{mosquitto.tls_url}", ca_file = "ca.pem" }}]'
    settings = f'[default.bus]\nprefix = "{prefix}"\nbrokers = {brokers}\n'
    (tmp_path / "settings.toml").write_text(settings)
    (tmp_path / "ca.pem").write_bytes(mosquitto.certificate.read_bytes())
    with mosquitto.listening(f"{prefix}/infrastructure/pipelines/elan/control", 1) as there:
        done = bus(tmp_path, "raise", "elan", "--broker", "site")
        assert done.returncode == 0, done.stderr
        assert said(there.lines())[0]["action"] == "raise"
    assert bus(tmp_path, "raise", "elan", "--broker", "other").returncode == 2


def test_a_broker_that_is_away_is_named(tmp_path: Path) -> None:
    done = bus(tmp_path, "raise", "elan", "--host", f"127.0.0.1:{free_port()}")
    assert done.returncode == 5
    assert "127.0.0.1" in done.stderr


def test_over_amqp_they_work_as_well(rabbitmq: RabbitmqServer, tmp_path: Path, prefix: str) -> None:
    place = ["--host", f"amqp://guest@127.0.0.1:{rabbitmq.port}", "--mqtt-env", prefix]
    told = ["-t", f"{prefix}/elan/status", "-c", "echo $TAEL_X", "--who", "next"]
    guest = {"TESP_BUS_PASSWORD": "guest"}
    with (
        bus_program(tmp_path / "a", "listen", *told, *place, **guest) as program,
        bus_program(tmp_path / "b", "watch", "--json", *place, **guest) as watching,
    ):
        program.wait_for_log("Listens to", 2)
        sending = ["send", "-t", f"{prefix}/elan/status", *place[:2]]
        attributes = ["--attr", "status", "finished", "--attr", "x", "y"]

        def passed() -> bool:
            assert bus(tmp_path, *sending, *attributes, **guest).returncode == 0
            return '"return_code"' in watching.output

        wait_until(passed, "all of it is seen")
        assert "y" in program.output.split()
        assert program.stop() == watching.stop() == 0
    lines = [json.loads(line) for line in watching.output.splitlines()]
    cause = {line["message_id"]: line["correlation_id"] for line in lines}
    ended = next(line for line in lines if line.get("return_code") == 0)
    assert ended["correlation_id"] in cause.values()
    assert ended["hops"] == 1
