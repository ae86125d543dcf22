"""Listeners whose broker dies, and listeners that are ended."""

import json
import signal
import subprocess
from pathlib import Path

from tests.peers.bus_programs import (
    FINISHED,
    bus_program,
    listener,
    said,
    status_of,
)
from tests.peers.mosquitto import MosquittoServer
from tests.peers.room import wait_until


def test_a_listener_outlives_its_broker_and_its_announcements_too(
    own_mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    go = tmp_path / "go"
    command = f"touch {tmp_path}/runs; until test -e {go}; do sleep 0.05; done"
    # The broker keeps for this one what comes while it does not look.
    kept = ["--id", "witness", "--disable-clean-session"]
    topic = status_of(prefix)
    with listener(own_mosquitto, tmp_path, prefix, command) as program:
        with own_mosquitto.listening(topic, 1, *kept) as there:
            own_mosquitto.send(f"{prefix}/elan/status", FINISHED)
            assert said(there.lines())[0]["status"] == "started"
        wait_until((tmp_path / "runs").exists, "it runs")
        own_mosquitto.kill()
        program.wait_for_log("is tried again for ever")
        go.touch()
        program.wait_for_log("next: finished")
        wait_until(lambda: any(tmp_path.rglob("messages")), "the announcement is on disk")
        own_mosquitto.start()
        program.wait_for_log("is there again", 2)
        own_mosquitto.send(f"{prefix}/elan/status", FINISHED)
        statuses = [json.loads(line)["status"] for line in kept_for(own_mosquitto, topic, 3, *kept)]
    assert sorted(statuses) == ["finished", "finished", "started"]


def kept_for(mosquitto: MosquittoServer, topic: str, count: int, *options: str) -> list[str]:
    """What a broker has kept for a client; it may come before it has said what it wants."""
    place = ["-h", "127.0.0.1", "-p", str(mosquitto.port), "-t", topic, "-q", "1"]
    argv = ["mosquitto_sub", *place, "-C", str(count), *options]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def test_what_comes_while_a_listener_is_away_is_kept_for_its_client_id(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    client = ["--client-id", f"c-{prefix}"]
    ran = tmp_path / "ran"
    with listener(mosquitto, tmp_path, prefix, f"echo $TAEL_N >>{ran}", *client) as program:
        mosquitto.send(f"{prefix}/elan/status", '{"n": 1, "status": "finished"}')
        wait_until(ran.exists, "it ran")
        program.wait_for_log("next: finished")
        assert program.stop() == 0
    mosquitto.send(f"{prefix}/elan/status", '{"n": 2, "status": "finished"}')
    with listener(mosquitto, tmp_path, prefix, f"echo $TAEL_N >>{ran}", *client) as program:
        program.wait_for_log("next: finished")
        assert program.stop() == 0
    assert ran.read_text().split() == ["1", "2"]


def test_what_was_not_run_to_its_end_comes_again_to_a_client_id(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    client = ["--client-id", f"c-{prefix}"]
    command = f"echo >>{tmp_path}/runs; sleep 300"
    with listener(mosquitto, tmp_path, prefix, command, *client) as program:
        mosquitto.send(f"{prefix}/elan/status", FINISHED)
        wait_until((tmp_path / "runs").exists, "it runs")
        program.stop(signal.SIGKILL)
    with listener(mosquitto, tmp_path, prefix, f"echo >>{tmp_path}/runs", *client) as program:
        program.wait_for_log("next: finished")
    assert (tmp_path / "runs").read_text() == "\n\n"


def test_what_waits_for_its_turn_when_its_listener_ends_comes_again_to_a_client_id(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    client = ["--client-id", f"c-{prefix}"]
    go, ran = tmp_path / "go", tmp_path / "ran"
    command = f"echo $TAEL_N >>{ran}; until test -e {go}; do sleep 0.05; done"
    order = json.dumps({"action": "raise", "n": "by-hand"})
    with listener(mosquitto, tmp_path, prefix, command, *client) as program:
        mosquitto.send(f"{prefix}/infrastructure/pipelines/next/control", order)
        wait_until(ran.exists, "what was raised by hand runs")
        mosquitto.send(f"{prefix}/elan/status", '{"n": "kept", "status": "finished"}')
        program.wait_for_log("Waits for its turn")
        program.process.send_signal(signal.SIGTERM)
        program.wait_for_log("Waits up to 30 s for what runs")
        go.touch()
        assert program.process.wait(60) == 0
        assert program.log.count("Not run any more") == 1
    with listener(mosquitto, tmp_path, prefix, command, *client) as program:
        program.wait_for_log("next: finished")
        assert program.stop() == 0
    assert ran.read_text().split() == ["by-hand", "kept"]


def test_a_command_may_end_when_its_listener_is_to_end(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    go = tmp_path / "go"
    command = f"touch {tmp_path}/runs; until test -e {go}; do sleep 0.05; done"
    with (
        listener(mosquitto, tmp_path, prefix, command) as program,
        mosquitto.listening(status_of(prefix), 2) as there,
    ):
        mosquitto.send(f"{prefix}/elan/status", FINISHED)
        mosquitto.send(f"{prefix}/elan/status", FINISHED)
        wait_until((tmp_path / "runs").exists, "it runs")
        program.wait_for_log("Waits for its turn")
        program.process.send_signal(signal.SIGTERM)
        program.wait_for_log("Waits up to 30 s for what runs")
        mosquitto.send(f"{prefix}/elan/status", FINISHED)
        program.wait_for_log("Not run any more")
        go.touch()
        assert program.process.wait(60) == 0
        assert said(there.lines())[1]["status"] == "finished"
        assert program.log.count("Not run any more") == 2


def test_a_command_that_does_not_end_in_its_grace_is_ended_with_all_that_it_started(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    pid = tmp_path / "pid"
    command = f"sleep 300 & echo $! >{pid}.new; mv {pid}.new {pid}; wait"
    with (
        listener(mosquitto, tmp_path, prefix, command, "--grace", "0.1") as program,
        mosquitto.listening(status_of(prefix), 2) as there,
    ):
        mosquitto.send(f"{prefix}/elan/status", FINISHED)
        wait_until(pid.exists, "it runs")
        assert program.stop() == 0
        ended = said(there.lines())[1]
    assert (ended["status"], ended["announce"]) == ("failed", True)
    wait_until(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists(), "all is gone")


def test_a_listener_may_be_there_before_its_broker(
    own_mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    own_mosquitto.stop()
    told = ["-t", f"{prefix}/elan/status", "-c", "true", "--who", "next"]
    place = ["--host", own_mosquitto.url, "--mqtt-env", prefix]
    with bus_program(tmp_path, "listen", *told, *place) as program:
        program.wait_for_log("is tried again for ever")
        own_mosquitto.start()
        program.wait_for_log("Listens to", 2)
        with own_mosquitto.listening(status_of(prefix), 2) as there:
            own_mosquitto.send(f"{prefix}/elan/status", FINISHED)
            assert said(there.lines())[1]["status"] == "finished"
        own_mosquitto.stop()
        program.wait_for_log("is tried again for ever", 3)
        assert program.stop() == 0
