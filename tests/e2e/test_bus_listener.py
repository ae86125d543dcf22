"""A listener: what starts its command, what it announces, and what follows from that."""

import json
import shlex
import signal
from pathlib import Path

from tests.peers.bus_programs import (
    FINISHED,
    PROGRAM,
    bus,
    bus_program,
    listener,
    own,
    said,
    status_of,
)
from tests.peers.mosquitto import MosquittoServer
from tests.peers.room import wait_until


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


def test_with_a_secret_only_who_says_it_is_obeyed(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    secret = {"TESP_CONTROL__SECRET": "rosebud rosebud"}
    control = f"{prefix}/infrastructure/pipelines/next/control"
    place = ["--host", mosquitto.url, "--mqtt-env", prefix]
    with (
        listener(mosquitto, tmp_path, prefix, "env >$HOME/env", **secret) as program,
        mosquitto.listening(f"{prefix}/#", 5) as there,
    ):
        mosquitto.send(control, '{"action": "raise"}')
        mosquitto.send(control, '{"action": "raise", "secret": "rosebud"}')
        assert bus(tmp_path, "raise", "next", *place, **secret).returncode == 0
        *orders, started, ended = said(there.lines())
        assert program.log.count("not obeyed") == 2
    assert len(orders) == 3
    assert (started["status"], ended["status"]) == ("started", "finished")
    assert "TAEL_SECRET" not in (tmp_path / "next" / "env").read_text()


def example(mark: str) -> str:
    """A block of the document."""
    text = (Path(__file__).parents[2] / "docs" / "bus.md").read_text()
    return text.split(f"<!-- tael {mark} -->\n```sh\n")[1].split("```")[0]


def test_the_example_of_the_document_works_as_it_stands(
    own_mosquitto: MosquittoServer, tmp_path: Path
) -> None:
    def words(mark: str) -> list[str]:
        text = example(mark).replace("mqtt://mq.example", own_mosquitto.url)
        return shlex.split(text.replace("\\\n", ""))[2:]

    with bus_program(tmp_path, *words("listener")) as program:
        program.wait_for_log("Listens to", 2)
        with own_mosquitto.listening("COGUK/#", 3) as there:
            assert bus(tmp_path, *words("sender")).returncode == 0
            lines = there.lines()
    topics = ["COGUK/elan/status", *["COGUK/infrastructure/pipelines/next/status"] * 2]
    assert [line.split()[0] for line in lines] == topics
    assert [one["status"] for one in said(lines)] == ["finished", "started", "finished"]
    assert (tmp_path / "arrived").read_text() == "20200716\n"
