"""A Pulsar over AMQP and REST: messages tell how jobs stand, files come over REST."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tesp.backends import Ended
from tesp.backends.pulsar.hybrid_backend import ToldClient
from tesp.backends.pulsar.wire import Name, Status
from tesp.errors import BackendUnavailable
from tesp.runner.plan import Output
from tesp.settings import PulsarSettings
from tests.contract.backends.amqp_harness import HybridHarness
from tests.contract.backends.harness import SANDBOX, Attempt
from tests.peers.gate import Gate
from tests.peers.http_server import HttpServer
from tests.peers.pulsar_amqp import AmqpPulsarServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import Room, wait_until


@pytest.fixture(scope="module")
def mortal_pulsar(rabbitmq: RabbitmqServer) -> Iterator[AmqpPulsarServer]:
    """A Pulsar that may be killed."""
    with Room.temporary() as room:
        yield AmqpPulsarServer.over(room, rabbitmq, hybrid=True)


@pytest.fixture
async def own(mortal_pulsar: AmqpPulsarServer) -> AsyncIterator[Attempt]:
    """An attempt on it."""
    harness = HybridHarness(mortal_pulsar, SANDBOX)
    backend = harness.opened()
    yield Attempt(harness, backend)
    await backend.close()


async def until(ready: object, what: str) -> None:
    """Wait while the backend goes on."""
    await asyncio.to_thread(wait_until, ready, what)


async def held(attempt: Attempt, gate: Gate) -> None:
    """Start a job that waits at the gate, and has an output."""
    gate.hold("/ran")
    await attempt.prepare()
    script = f"{gate.knock('/ran')}; echo through; echo 1 >/o/out"
    await attempt.submit(attempt.plan(script, outputs=[Output("/o/out")]))


async def is_through(attempt: Attempt, ended: Ended) -> None:
    """It ran to its end, and its output can be had."""
    assert ended.result is not None, ended.reason
    assert ended.tails["0.stdout"] == b"through\n"
    assert await attempt.outputs(ended.result) == {"/o/out": b"1\n"}


async def test_a_job_ends_with_its_result_although_pulsar_was_killed_meanwhile(
    mortal_pulsar: AmqpPulsarServer, own: Attempt, gate: Gate
) -> None:
    await held(own, gate)
    gate.wait_for("/ran")
    following = asyncio.create_task(own.end())
    await asyncio.to_thread(mortal_pulsar.kill)
    with pytest.raises(BackendUnavailable):
        await own.backend.check()
    gate.release("/ran")
    await until((own.harness.place(own.job) / "result.json").exists, "a result")
    await asyncio.to_thread(mortal_pulsar.started)
    await is_through(own, await following)
    await own.backend.check()
    await own.backend.clean(own.job)
    assert not own.remains()
    assert gate.arrived("/ran") == 1


async def test_a_job_that_is_sent_twice_while_pulsar_hangs_runs_once(
    mortal_pulsar: AmqpPulsarServer, own: Attempt, gate: Gate
) -> None:
    await own.prepare()
    plan = await own.harness.staged(own.backend, own.job, own.plan(gate.knock("/ran")), {})
    await own.backend.submit(own.job, plan)
    with mortal_pulsar.frozen():
        other = own.harness.opened()
        again = asyncio.create_task(other.submit(own.job, plan))
        await asyncio.wait([again], timeout=0.1)
    await again
    assert (await own.result()).executors[0].exit_code == 0
    await other.close()
    assert gate.arrived("/ran") == 1


async def test_nobody_asks_how_a_job_stands_while_it_is_told(tmp_path: Path) -> None:
    job = Name("m", "j-1.1")
    with HttpServer(tmp_path) as server:
        client = ToldClient(PulsarSettings(name="p", url=server.url, amqp_url="amqp://127.0.0.1"))
        client.tell(job, Status("running"))
        for _ in range(100):
            assert await client.status(job) == Status("running")
        assert server.requests == []
        client.doubt(job)
        with pytest.raises(Exception, match="no Pulsar"):
            await client.status(job)
        assert [method for method, *_ in server.requests] == ["GET"]
        await client.close()
