"""Tael's tools against a real broker, with its own programs at the other end."""

import json
import os
import pty
import resource
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.peers.bus_programs import PROGRAM, BusProgram, bus, bus_program
from tests.peers.mosquitto import PASSWORD, USER, MosquittoServer
from tests.peers.room import free_port, wait_until

FINISHED = '{"status": "finished"}'


@pytest.fixture
def prefix() -> str:
    """Topics of this test alone."""
    return f"T{uuid.uuid4().hex[:8]}"


def said(lines: list[str]) -> list[dict[str, Any]]:
    """The payloads of what mosquitto_sub saw."""
    payloads: list[dict[str, Any]] = [json.loads(line.partition(" ")[2]) for line in lines]
    return payloads


def own(payload: dict[str, Any]) -> dict[str, Any]:
    """Without what is different each time."""
    changing = ("ts", "message_id", "correlation_id", "time_elapsed")
    return {k: v for k, v in payload.items() if k not in changing}


@contextmanager
def listener(
    mosquitto: MosquittoServer,
    directory: Path,
    prefix: str,
    command: str,
    *more: str,
    topic: str | None = None,
    who: str = "next",
    **environ: str,
) -> Iterator[BusProgram]:
    """`tesp bus listen`, when it listens."""
    told = ["-t", topic or f"{prefix}/elan/status", "-c", command, "--who", who]
    place = ["--host", mosquitto.url, "--mqtt-env", prefix]
    with bus_program(directory / who, "listen", *told, *place, *more, **environ) as program:
        program.wait_for_log("Listens to", 2)
        yield program


def status_of(prefix: str, who: str = "next") -> str:
    return f"{prefix}/infrastructure/pipelines/{who}/status"


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


def test_a_listener_runs_its_command_with_the_payload_and_announces_it(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    command = 'echo "$TAEL_DATE $TAEL_STATUS" >"$HOME/ran"'
    topic = f"{prefix}/elan/status"
    with (
        listener(mosquitto, tmp_path, prefix, command) as program,
        mosquitto.listening(status_of(prefix), 2) as there,
    ):
        mosquitto.send(topic, '{"status": "started"}')
        mosquitto.send(topic, '{"status": "finished", "date": "20200716"}')
        started, ended = said(there.lines())
        assert program.stop() == 0
    assert (tmp_path / "next" / "ran").read_text() == "20200716 finished\n"
    assert own(started) == {
        "status": "started",
        "announce": False,
        "reason": f"{topic} finished",
        "hops": 1,
    }
    assert own(ended) == {"status": "finished", "return_code": 0, "announce": False, "hops": 1}
    assert isinstance(ended["time_elapsed"], str)
    assert isinstance(ended["ts"], int)
    assert started["correlation_id"] == ended["correlation_id"]


def test_a_command_that_fails_is_announced_to_everybody(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    with (
        listener(mosquitto, tmp_path, prefix, "exit 3"),
        mosquitto.listening(status_of(prefix), 2) as there,
    ):
        mosquitto.send(f"{prefix}/elan/status", FINISHED)
        ended = said(there.lines())[1]
    assert (ended["status"], ended["return_code"], ended["announce"]) == ("failed", 3, True)


def test_without_a_required_key_nothing_starts_and_that_is_announced(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    flags = ["--envreq", "date", "run", "--envprefix", "ELAN"]
    command = 'echo "$DATE $RUN $ELAN_DATE $TAEL_RUN [$OTHER] $ELAN_OTHER" >"$HOME/ran"'
    topic = f"{prefix}/elan/status"
    with (
        listener(mosquitto, tmp_path, prefix, command, *flags),
        mosquitto.listening(status_of(prefix), 3) as there,
    ):
        mosquitto.send(topic, '{"status": "finished", "date": 1}')
        mosquitto.send(topic, '{"status": "finished", "date": 1, "run": 2, "other": 3}')
        false, started, ended = said(there.lines())
    assert false["status"] == "falsestart"
    assert false["announce"] is True
    assert false["return_code"] is None
    assert "run" in false["reason"]
    assert (started["status"], ended["status"]) == ("started", "finished")
    assert (tmp_path / "next" / "ran").read_text() == "1 2 1 2 [] 3\n"


def test_a_command_that_cannot_be_started_is_a_false_start(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    flags = ["--envprefix", "P"]
    # Each value fits; all of them together are more than a program may be started with.
    many = {f"k{n}": "x" * 4000 for n in range(120)}
    with (
        listener(mosquitto, tmp_path, prefix, "true", *flags) as program,
        mosquitto.listening(status_of(prefix), 2) as there,
    ):
        # A quarter of the stack is for the environment.
        resource.prlimit(program.process.pid, resource.RLIMIT_STACK, (1 << 20, 1 << 20))
        mosquitto.send(f"{prefix}/elan/status", json.dumps({**many, "status": "finished"}))
        started, false = said(there.lines())
    assert started["status"] == "started"
    assert (false["status"], false["announce"]) == ("falsestart", True)
    assert "could not be started" in false["reason"]


def test_keys_are_passed_through_into_the_announcements(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    flags = ["--envprefix", "ELAN", "--payload-passthrough", "ELAN_DATE", "run", "nothing"]
    with (
        listener(mosquitto, tmp_path, prefix, "true", *flags),
        mosquitto.listening(status_of(prefix), 2) as there,
    ):
        mosquitto.send(f"{prefix}/elan/status", '{"status": "finished", "date": "d", "run": 7}')
        for payload in said(there.lines()):
            assert (payload["ELAN_DATE"], payload["RUN"]) == ("d", 7)
            assert "NOTHING" not in payload


def test_hostile_keys_and_values_are_text_and_no_more(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    command = 'env -0 >"$HOME/env"; printf %s "$TAEL_DATE" >"$HOME/date"'
    evil = f"$(touch {tmp_path}/evil) `touch {tmp_path}/evil`; touch {tmp_path}/evil"
    payload = {
        "status": "finished",
        "PATH": "/nowhere",
        "LD_PRELOAD": "/evil.so",
        "BASH_ENV": "/evil",
        "a=b;c\u00e9": "d",
        "BASH_FUNC_ls%%": "() { evil; }",
        "nul": "a\0b",
        "date": evil,
    }
    with (
        listener(mosquitto, tmp_path, prefix, command, "--envprefix", "ELAN"),
        mosquitto.listening(status_of(prefix), 2) as there,
    ):
        mosquitto.send(f"{prefix}/elan/status", json.dumps(payload))
        assert said(there.lines())[1]["status"] == "finished"
    seen = (tmp_path / "next" / "env").read_bytes().decode().rstrip("\0").split("\0")
    variables = dict(line.split("=", 1) for line in seen)
    assert variables["PATH"] == os.environ["PATH"]
    assert not {"LD_PRELOAD", "BASH_ENV", "STATUS", "BASH_FUNC_ls%%"} & set(variables)
    assert variables["TAEL_PATH"] == variables["ELAN_PATH"] == "/nowhere"
    assert variables["TAEL_A_B_C_"] == "d"
    assert "TAEL_NUL" not in variables
    assert (tmp_path / "next" / "date").read_text() == evil
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--envreq", "path"],
        ["--envreq", "ld_preload"],
        ["--envprefix", "LD"],
        ["--envprefix", "a b"],
    ],
)
def test_names_that_would_give_senders_power_are_refused(tmp_path: Path, flags: list[str]) -> None:
    done = bus(tmp_path, "listen", "-t", "a/status", "-c", "true", "--who", "w", *flags)
    assert done.returncode == 2
    assert flags[1] in done.stderr


def test_what_is_no_message_is_dropped_with_a_line_and_all_goes_on(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    topic = f"{prefix}/elan/status"
    with (
        listener(mosquitto, tmp_path, prefix, "true") as program,
        mosquitto.listening(status_of(prefix), 2) as there,
    ):
        for body in (bytes(range(256)), "[" * 10_000, '{"a":' * 10_000, "x" * 1_000_000, ""):
            mosquitto.send(topic, body)
        mosquitto.send(topic, FINISHED)
        assert said(there.lines())[1]["status"] == "finished"
        assert program.log.count("dropped a message") == 5


def test_a_chain_keeps_its_correlation_and_counts_its_hops(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    first = {"topic": f"{prefix}/elan/status", "who": "first"}
    second = {"topic": status_of(prefix, "first"), "who": "second"}
    with (
        listener(mosquitto, tmp_path, prefix, "true", **first),
        listener(mosquitto, tmp_path, prefix, "echo $TAEL_HOPS >$HOME/ran", **second),
        mosquitto.listening(f"{prefix}/#", 5) as there,
    ):
        place = ["--host", mosquitto.url]
        attributes = ["--attr", "status", "finished"]
        done = bus(tmp_path, "send", "-t", f"{prefix}/elan/status", *attributes, *place)
        assert done.returncode == 0, done.stderr
        sent, *others = said(there.lines())
    assert {other["correlation_id"] for other in others} == {sent["correlation_id"]}
    assert len({sent["message_id"], *(other["message_id"] for other in others)}) == 5
    assert sorted(other["hops"] for other in others) == [1, 1, 2, 2]
    assert (tmp_path / "second" / "ran").read_text() == "1\n"


def test_listeners_that_start_each_other_end_at_eight_hops(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    one = {"topic": status_of(prefix, "two"), "who": "one"}
    two = {"topic": status_of(prefix, "one"), "who": "two"}
    # What a command sends itself counts as well.
    send = f"{PROGRAM} bus send --host {mosquitto.url} -t {status_of(prefix, 'two')}"
    again = f'test "$TAEL_HOPS" -lt 4 || {send} --attr status finished'
    with (
        listener(mosquitto, tmp_path, prefix, again, **one) as program,
        listener(mosquitto, tmp_path, prefix, "true", **two) as other,
        mosquitto.listening(f"{prefix}/#", 30) as there,
    ):
        mosquitto.send(status_of(prefix, "two"), FINISHED)
        wait_until(lambda: "this ends here" in program.log + other.log, "the end")
        mosquitto.send(f"{prefix}/end", "{}", "--repeat", "29")
        hops = [payload.get("hops", 0) for payload in said(there.lines())]
    assert max(hops) == 8


def test_no_announcement_of_its_own_starts_a_listener(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    everyone = f"{prefix}/infrastructure/pipelines/+/status"
    with (
        listener(mosquitto, tmp_path, prefix, "echo x >>$HOME/ran", topic=everyone),
        mosquitto.listening(status_of(prefix), 4) as there,
    ):
        mosquitto.send(status_of(prefix, "a"), FINISHED)
        mosquitto.send(status_of(prefix, "b"), FINISHED)
        assert [p["status"] for p in said(there.lines())] == ["started", "finished"] * 2
    assert (tmp_path / "next" / "ran").read_text() == "x\nx\n"


def test_a_pipeline_is_raised_by_hand_and_canceled(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    place = ["--host", mosquitto.url, "--mqtt-env", prefix]
    with (
        listener(mosquitto, tmp_path, prefix, "echo >$HOME/runs; sleep 300 & wait"),
        mosquitto.listening(status_of(prefix), 2) as there,
    ):
        assert bus(tmp_path, "raise", "next", *place).returncode == 0
        wait_until((tmp_path / "next" / "runs").exists, "it runs")
        assert bus(tmp_path, "cancel", "next", *place).returncode == 0
        started, ended = said(there.lines())
    assert started["reason"] == "manually raised by control message"
    assert (ended["status"], ended["return_code"]) == ("failed", -signal.SIGTERM)
    assert ended["reason"] == "canceled by control message"


def test_a_control_message_of_the_original_kind_raises_a_pipeline(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    control = f"{prefix}/infrastructure/pipelines/next/control"
    with (
        listener(mosquitto, tmp_path, prefix, "true", topic=f"{prefix}/#"),
        mosquitto.listening(status_of(prefix), 4) as there,
    ):
        mosquitto.send(control, '{"action": "dance"}')
        mosquitto.send(control, '{"user": "sam", "action": "raise", "ts": 1}')
        mosquitto.send(f"{prefix}/elan/status", FINISHED)
        # By each filter it comes once.
        assert [p["status"] for p in said(there.lines())] == ["started", "finished"] * 2


def test_one_runs_at_a_time_and_the_others_wait_in_order(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    go, order = tmp_path / "go", tmp_path / "order"
    command = f"echo $TAEL_N >>{order}; until test -e {go}; do sleep 0.05; done; echo end >>{order}"
    with (
        listener(mosquitto, tmp_path, prefix, command),
        mosquitto.listening(status_of(prefix), 6) as there,
    ):
        for number in range(3):
            mosquitto.send(f"{prefix}/elan/status", json.dumps({"n": number, "status": "finished"}))
        wait_until(order.exists, "the first runs")
        go.touch()
        there.lines()
    assert order.read_text().split() == ["0", "end", "1", "end", "2", "end"]


def test_with_parallel_as_many_run_at_once(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    # Each waits for the other.
    command = f"touch {tmp_path}/$TAEL_N; until test -e {tmp_path}/0 -a -e {tmp_path}/1; do :; done"
    with (
        listener(mosquitto, tmp_path, prefix, command, "--parallel", "2"),
        mosquitto.listening(status_of(prefix), 4) as there,
    ):
        for number in range(2):
            mosquitto.send(f"{prefix}/elan/status", json.dumps({"n": number, "status": "finished"}))
        statuses = [payload["status"] for payload in said(there.lines())]
    assert sorted(statuses) == ["finished", "finished", "started", "started"]


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
        program.process.send_signal(signal.SIGTERM)
        program.wait_for_log("for what runs")
        go.touch()
        assert program.process.wait(60) == 0
        assert said(there.lines())[1]["status"] == "finished"
        assert program.log.count("Not run any more") == 1


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
        mosquitto.send(f"{prefix}/elan/status", json.dumps(announced))
        wait_until(lambda: "failed" in some.output, "it is shown")
        wait_until(lambda: "announce" in everything.output, "it is shown there")
        assert everything.stop() == some.stop(signal.SIGINT) == 0
    shown = [line for line in some.output.splitlines() if "hello" not in line]
    assert len(shown) == 1
    assert f"! {prefix}/elan/status  failed" in shown[0]
    assert "\x1b" not in shown[0]
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
