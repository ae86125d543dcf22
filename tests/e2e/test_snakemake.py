"""Snakemake's workflows as tasks, from its command to the results in S3."""

import re
import select
import socket
import subprocess
import sys
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


def report() -> str:
    counted = sorted(Counter(TEXT.split()).items(), key=lambda word: (-word[1], word[0]))
    return "".join(f"{count} {word}\n" for word, count in counted)


def test_a_workflow_of_four_rules_leaves_its_results_in_s3(
    server: TespServer, start_run: StartRun, objects: Objects
) -> None:
    results_are_right(server, start_run, objects)


def test_the_same_workflow_runs_in_containers_of_an_image_with_snakemake(
    start_server: StartServer,
    docker_settings: dict[str, Any],
    snakemake_image: str,
    start_run: StartRun,
    objects: Objects,
) -> None:
    server = start_server(**docker_settings)
    results_are_right(server, start_run, objects, image=snakemake_image)


def results_are_right(
    server: TespServer, start_run: StartRun, objects: Objects, **changes: str
) -> None:
    """Run the workflow, and look at what it leaves."""
    objects.put("text.txt", TEXT)
    run = start_run(server, "words", **changes)
    assert run.wait() == 0, run.output()
    assert objects.get("report.txt") == report()
    assert len(run.tasks()) == 6
    assert states(server, run) == {"COMPLETE"}


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
        assert run.wait() == 0, run.output()
    assert objects.get("joined.txt").split() == ["open", "/left", "open", "/right"]
    assert gate.arrived("/left") == gate.arrived("/right") == 1


def test_an_s3_server_that_is_away_for_a_while_is_waited_for(
    server: TespServer, start_run: StartRun, gate: Gate, objects: Objects, s3_server: S3Server
) -> None:
    with CuttingProxy(s3_server.port) as proxy:
        run = held(server, start_run, gate, s3_url=proxy.url)
        before = proxy.connections
        proxy.cut_down += [0] * 1000
        proxy.cut()
        gate.release("/left")
        gate.release("/right")
        wait_until(lambda: proxy.connections > before + 4, "both jobs have tried twice and more")
        proxy.cut_down.clear()
        assert run.wait() == 0, run.output()
    assert objects.get("joined.txt").split() == ["open", "/left", "open", "/right"]


def waiting(listener: socket.socket) -> bool:
    """Whether a connection is there that nobody has taken yet."""
    return bool(select.select([listener], [], [], 0)[0])


def held(server: TespServer, start_run: StartRun, gate: Gate, **changes: str) -> Run:
    """A run with two jobs that stand at the gate."""
    gate.hold("/left")
    gate.hold("/right")
    run = start_run(server, "held", "--config", f"gate={gate.url}", **changes)
    gate.wait_for("/left")
    gate.wait_for("/right")
    return run
