"""A real service tells how full the queues are, and the command line shows it."""

import asyncio
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import aio_pika
import httpx

from tests.peers.hook_server import HookServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import TespServer

PROGRAM = Path(sys.executable).with_name("tesp")
TASK: dict[str, Any] = {"name": "n", "executors": [{"image": "i", "command": ["true"]}]}


async def filled(rabbitmq: RabbitmqServer, queue: str, count: int) -> None:
    """A queue that nobody takes from, with some messages."""
    async with await aio_pika.connect(rabbitmq.url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True)
        for _ in range(count):
            await channel.default_exchange.publish(aio_pika.Message(b"{}"), queue)


def shown(server: TespServer) -> list[list[str]]:
    """What a person sees, but for the time."""
    argv = [PROGRAM, "bus", "queues", "--url", server.url]
    done = subprocess.run(argv, capture_output=True, check=True, text=True, timeout=60)
    return [line.split("\t")[:4] for line in done.stdout.splitlines()]


def test_it_is_seen_what_waits_and_that_nobody_takes_it(
    start_server: StartServer, rabbitmq: RabbitmqServer, store_settings: dict[str, Any]
) -> None:
    archive, client = f"archive-{uuid.uuid4().hex}", f"tesp-{uuid.uuid4().hex}"
    asyncio.run(filled(rabbitmq, archive, 3))
    broker = {
        "name": "site",
        "url": f"amqp://127.0.0.1:{rabbitmq.port}",
        "client_id": client,
        "queues": [archive, "there-is-none"],
    }
    # Nobody hears what is said to a server that has closed.
    hooks = HookServer()
    hooks.close()
    target = {"name": "away", "url": f"{hooks.url}/x", "secret": "0123456789abcdef"}
    server = start_server(
        store=store_settings,
        bus={"brokers": [broker]},
        control={"enabled": True},
        webhooks={"targets": [target]},
    )
    server.run(TASK)
    orders = f"{client}-control"

    def report() -> dict[str, Any]:
        answer = httpx.get(f"{server.url}/queues", timeout=60)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def queues() -> dict[str, tuple[int, int]]:
        return {
            queue["name"]: (queue["messages"], queue["consumers"])
            for one in report()["brokers"]
            for queue in one["queues"]
        }

    wait_until(lambda: queues() == {archive: (3, 0), orders: (0, 1)}, "the queues are measured")

    def sinks() -> dict[str, int]:
        return {sink["name"]: sink["waiting"] for sink in report()["sinks"]}

    wait_until(lambda: sinks() == {"site": 0, "webhook:away": 4}, "the broker has all")
    assert shown(server) == [
        ["", "WHERE", "WAITING", "CONSUMERS"],
        ["", "sink site", "0", ""],
        ["", "sink webhook:away", "4", ""],
        ["", f"site {orders}", "0", "1"],
        ["!", f"site {archive}", "3", "0"],
    ]
    metrics = httpx.get(f"{server.url}/metrics", timeout=60).text
    assert f'tesp_queue_messages{{broker="site",queue="{archive}"}} 3' in metrics
    assert 'tesp_sink_waiting_events{sink="webhook:away"} 4' in metrics
    assert 'tesp_tasks{state="COMPLETE"} 1' in metrics


def test_the_queues_of_a_pulsar_are_looked_at_too(
    start_server: StartServer, rabbitmq: RabbitmqServer
) -> None:
    manager = f"m{uuid.uuid4().hex}"
    pulsar = {"name": "slurm", "amqp_url": rabbitmq.url, "manager": manager}
    server = start_server(local={"enabled": True}, pulsars=[pulsar])

    def consumers() -> dict[str, int]:
        report = httpx.get(f"{server.url}/queues", timeout=60).json()
        (broker,) = report["brokers"] or [{"queues": []}]
        return {queue["name"]: queue["consumers"] for queue in broker["queues"]}

    # The service listens to updates; no Pulsar listens to what is set up.
    here = {f"pulsar_{manager}__setup": 0, f"pulsar_{manager}__status_update": 1}
    wait_until(lambda: consumers().items() >= here.items(), "the queues are measured")
