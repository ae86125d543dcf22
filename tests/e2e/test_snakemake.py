"""Snakemake's workflows as tasks, from its command to the results in S3."""

import json
import re
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.peers import snakemake
from tests.peers.cutting_proxy import CuttingProxy
from tests.peers.gate import Gate
from tests.peers.room import wait_until
from tests.peers.s3_server import S3Server
from tests.peers.server_fixtures import StartServer
from tests.peers.snakemake import Run, StartRun
from tests.peers.tesp_server import TespServer

TEXT = "a rose is a rose is a rose\nand a daisy is a daisy\nand that is that\n" * 40


@pytest.fixture
def server(start_server: StartServer) -> TespServer:
    return start_server(**server_settings())


def server_settings() -> dict[str, Any]:
    return {**snakemake.server_settings(), "dispatch": {"lease_seconds": 2.0}}


@pytest.fixture
def objects(s3_server: S3Server, s3_bucket: str) -> "Objects":
    return Objects(s3_server.client(), s3_bucket)


class Objects:
    """What a run keeps in its bucket."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def put(self, name: str, text: str) -> None:
        self._client.put_object(Bucket=self._bucket, Key=f"run-1/{name}", Body=text.encode())

    def get(self, name: str) -> str:
        answer = self._client.get_object(Bucket=self._bucket, Key=f"run-1/{name}")
        text: str = answer["Body"].read().decode()
        return text


def states(server: TespServer, run: Run) -> set[str]:
    return {server.state(task) for task in run.tasks()}


def story(server: TespServer, run: Run) -> str:
    """What Snakemake and the tasks that failed have printed."""
    tasks = [server.get(task) for task in run.tasks()]
    failed = [json.dumps(task["logs"], indent=1) for task in tasks if task["state"] != "COMPLETE"]
    return "\n".join([run.output(), *failed])


def report() -> str:
    counted = sorted(Counter(TEXT.split()).items(), key=lambda word: (-word[1], word[0]))
    return "".join(f"{count} {word}\n" for word, count in counted)


def test_a_workflow_runs_in_containers_of_an_image_with_snakemake(
    start_server: StartServer,
    docker_settings: dict[str, Any],
    snakemake_image: str,
    start_run: StartRun,
    objects: Objects,
) -> None:
    server = start_server(**docker_settings)
    objects.put("text.txt", TEXT)
    run = start_run(server, "words", image=snakemake_image)
    assert run.wait() == 0, story(server, run)
    assert objects.get("report.txt") == report()
    assert len(run.tasks()) == 5
    assert states(server, run) == {"COMPLETE"}


def test_what_the_manual_installs_is_what_runs_here() -> None:
    pins = (Path(snakemake.__file__).parent / "constraints" / "snakemake.txt").read_text().split()
    named = [w for b in snakemake.blocks("sh", "pip ") for w in b.split() if "==" in w]
    assert len(named) == 5
    assert set(named) <= set(pins)


def test_a_rule_that_fails_ends_the_run_and_its_own_words_are_in_the_logs_of_its_task(
    server: TespServer, start_run: StartRun
) -> None:
    run = start_run(server, "failing")
    assert run.wait() == 1, run.output()
    assert "Error in rule fails" in run.output()
    assert "What the job wrote: tesp logs ID" in run.output()
    found = re.search(r"external_jobid: (\S+)", run.output())
    assert found, run.output()
    said = subprocess.run(
        ["bash", "-euc", snakemake.block("sh", "tesp logs --url")],
        env={"TES_URL": server.url, "ID": found[1], "PATH": f"{Path(sys.executable).parent}:/bin"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert "\nthe rule says: no such sample\n" in said.stderr


def test_ctrl_c_cancels_every_task_of_the_run(
    server: TespServer, start_run: StartRun, gate: Gate
) -> None:
    run = held(server, start_run, gate)
    run.interrupt()
    assert run.wait() != 0
    assert len(run.tasks()) == 2
    wait_until(lambda: states(server, run) == {"CANCELED"}, "both tasks are canceled")
    wait_until(lambda: server.leftovers() == [], "nothing is left of them")


def test_a_server_killed_in_the_middle_of_a_run_comes_back_and_the_run_goes_on(
    start_server: StartServer, start_run: StartRun, gate: Gate, objects: Objects
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = start_server(**server_settings(), listener=listener)
        run = held(server, start_run, gate)
        server.kill()
        wait_until(lambda: waiting(listener), "Snakemake asks for a task meanwhile")
        server.start()
        gate.release("/left")
        gate.release("/right")
        assert run.wait() == 0, story(server, run)
    assert objects.get("joined.txt").split() == ["open", "/left", "open", "/right"]
    assert gate.arrived("/left") == gate.arrived("/right") == 1


def test_an_s3_server_that_goes_away_is_named_and_waited_for_with_more_retries(
    server: TespServer, start_run: StartRun, gate: Gate, objects: Objects, s3_server: S3Server
) -> None:
    with CuttingProxy(s3_server.port) as proxy:
        run = held(server, start_run, gate, s3_url=proxy.url)
        proxy.cut_down += [0] * 1000
        proxy.cut()
        gate.release("/left")
        gate.release("/right")
        assert run.wait() == 1, run.output()
        assert "Failed to store output in storage" in story(server, run)
        assert f'from endpoint URL: \\"{proxy.url}' in story(server, run)
        (patience,) = snakemake.blocks("sh", "--storage-s3-retries")
        options = [patience.removeprefix("snakemake ... ").strip(), "--config", f"gate={gate.url}"]
        before = proxy.connections
        again = start_run(server, "held", *options, s3_url=proxy.url)
        wait_until(lambda: proxy.connections > before, "it asks for its files")
        # Without the option it gives up after two seconds.
        back = time.monotonic() + 5
        wait_until(lambda: time.monotonic() > back, "S3 is back")
        proxy.cut_down.clear()
        assert again.wait() == 0, story(server, again)
    assert objects.get("joined.txt").split() == ["open", "/left", "open", "/right"]


def waiting(listener: socket.socket) -> bool:
    """Whether a connection is there that nobody has taken yet."""
    return bool(select.select([listener], [], [], 0)[0])


def held(server: TespServer, start_run: StartRun, gate: Gate, *options: str, **changes: str) -> Run:
    """A run with two jobs that stand at the gate."""
    gate.hold("/left")
    gate.hold("/right")
    run = start_run(server, "held", "--config", f"gate={gate.url}", **changes)
    gate.wait_for("/left")
    gate.wait_for("/right")
    return run
