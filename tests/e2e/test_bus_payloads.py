"""What a listener's command sees of a message, whoever sent it."""

import json
import os
import resource
from pathlib import Path

import pytest

from tests.peers.bus_programs import (
    FINISHED,
    bus,
    listener,
    said,
    status_of,
)
from tests.peers.mosquitto import MosquittoServer


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
