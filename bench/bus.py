"""The bus against the brokers' own limits, in the same run.

python -m bench.bus [--messages 5000] [--only publish latency cost]

Prints, for Mosquitto over MQTT and RabbitMQ over AMQP: confirmed messages a second against a bare
client's of the same size (mosquitto_pub -l; a socket with AMQP on it and nothing else); the time
from a task's change of state to a subscriber; and how many no-op tasks a second there are with
brokers, against none.
"""

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

import aio_pika
import aiomqtt
import orjson
from pamqp import commands

from bench.amqp_wire import AmqpWire
from bench.tasks import NO_OP, TASKS, whole
from tesp.bus import Message, brokers, prodiguer, tael
from tesp.events import Event
from tesp.settings import BrokerSettings, BusSettings
from tesp.tes.states import State
from tests.peers.mosquitto import MosquittoServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import Room
from tests.peers.tesp_server import TERMINAL, TespServer

ROUNDS = 3
ALONE = 100
EXCHANGE, QUEUE = "x-primary", "bench"


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=5000)
    parts = ["publish", "latency", "cost"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, booted() as peers:
        for peer in peers:
            if "publish" in options.only:
                asyncio.run(publish(peer, options.messages))
            if "latency" in options.only:
                asyncio.run(latency(peer, Path(directory) / f"latency-{peer.name}"))
        if "cost" in options.only:
            cost(peers, Path(directory) / "cost")


@contextmanager
def booted() -> Iterator[list["Peer"]]:
    """Both brokers."""
    with ExitStack() as rooms:
        mosquitto = MosquittoServer.boot(rooms.enter_context(Room.temporary()))
        rabbitmq = RabbitmqServer.boot(rooms.enter_context(Room.temporary()))
        yield [Mqtt(mosquitto), Amqp(rabbitmq)]


class Peer(Protocol):
    """A broker, and clients of it that are not ours."""

    name: str
    url: str

    def bare(self, topic: str, body: bytes, count: int) -> float:
        """Seconds that a bare client takes to have so many messages confirmed."""
        ...

    def bodies(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Everything that comes, as a bare client has it."""
        ...


class Mqtt:
    """Mosquitto, and its own programs."""

    def __init__(self, server: MosquittoServer) -> None:
        self.name, self.url, self._server = "mqtt", server.url, server

    def bare(self, topic: str, body: bytes, count: int) -> float:
        """By one mosquitto_pub, a line a message."""
        where = ["-h", "127.0.0.1", "-p", str(self._server.port)]
        argv = ["mosquitto_pub", *where, "-t", topic, "-q", "1", "-l"]
        began = time.monotonic()
        subprocess.run(argv, input=(body + b"\n") * count, check=True, capture_output=True)
        return time.monotonic() - began

    @asynccontextmanager
    async def bodies(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """By aiomqtt."""
        async with aiomqtt.Client("127.0.0.1", self._server.port) as client:
            await client.subscribe("#", qos=1)
            yield (bytes(message.payload) async for message in client.messages)


class Amqp:
    """RabbitMQ, with one durable queue that takes everything."""

    def __init__(self, server: RabbitmqServer) -> None:
        self.name, self.url = "amqp", f"amqp://127.0.0.1:{server.port}"
        self._login, self._wire = server.url, AmqpWire(server.port)
        exchange = commands.Exchange.Declare(exchange=EXCHANGE, exchange_type="topic", durable=True)
        self._wire.call(exchange, commands.Exchange.DeclareOk)
        queue = commands.Queue.Declare(queue=QUEUE, durable=True)
        self._wire.call(queue, commands.Queue.DeclareOk)
        bind = commands.Queue.Bind(queue=QUEUE, exchange=EXCHANGE, routing_key="#")
        self._wire.call(bind, commands.Queue.BindOk)

    def bare(self, topic: str, body: bytes, count: int) -> float:
        """By a socket, and what is written to it; the queue is emptied around it."""
        purge = commands.Queue.Purge(queue=QUEUE)
        self._wire.call(purge, commands.Queue.PurgeOk)
        seconds = self._wire.publish(EXCHANGE, topic, body, count)
        self._wire.call(purge, commands.Queue.PurgeOk)
        return seconds

    @asynccontextmanager
    async def bodies(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """By aio-pika, from a queue of its own."""
        async with await aio_pika.connect(self._login) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(EXCHANGE, "#")
            async with queue.iterator(no_ack=True) as messages:
                yield (message.body async for message in messages)


async def publish(peer: Peer, count: int) -> None:
    """Confirmed messages a second, ours and bare, by turns."""
    bus = brokers.one(BrokerSettings(name=peer.name, url=peer.url))
    messages = [message(number) for number in range(count)]
    body = tael.encode(messages[0])
    ours, theirs = [], []
    try:
        await bus.publish(messages[:1])
        for _ in range(ROUNDS):
            began = time.monotonic()
            await bus.publish(messages)
            ours.append(count / (time.monotonic() - began))
            seconds = await asyncio.to_thread(peer.bare, "tesp.bench", body, count)
            theirs.append(count / seconds)
    finally:
        await bus.close()
    mine, bare = statistics.median(ours), statistics.median(theirs)
    print(
        f"{peer.name}: {mine:.0f} confirmed messages/s of {len(body)} bytes, "
        f"a bare client {bare:.0f}/s, ratio {mine / bare:.2f}, medians of {ROUNDS}"
    )


def message(number: int) -> Message:
    """What an event is on a broker."""
    event = Event(f"01{number:024d}", 3, State.RUNNING, time.time(), "anonymous", 1, "bench")
    return prodiguer.message(event, "tesp", brokers.producer(BusSettings(), "1"))


async def latency(peer: Peer, directory: Path) -> None:
    """How old an event is when a subscriber has it, one task after another."""
    server = await asyncio.to_thread(started, directory, [peer])
    ages = []
    try:
        async with peer.bodies() as bodies:
            for _ in range(ALONE):
                task_id = await asyncio.to_thread(server.submit, NO_OP)
                async for body in bodies:
                    told = orjson.loads(body)
                    ages.append(time.time() - datetime.fromisoformat(told["time"]).timestamp())
                    if told["task"] == task_id and told["state"] in TERMINAL:
                        break
    finally:
        server.kill()
    median, late = (
        1000 * q for q in (statistics.median(ages), statistics.quantiles(ages, n=100)[98])
    )
    print(
        f"{peer.name}: change of state to subscriber, {len(ages)} events: "
        f"median {median:.1f} ms, p99 {late:.1f} ms"
    )


def cost(peers: list[Peer], directory: Path) -> None:
    """No-op tasks a second with each broker and with none, by turns."""
    choices = {"none": [], **{peer.name: [peer] for peer in peers}, "both": peers}
    rates: dict[str, list[float]] = {name: [] for name in choices}
    for turn in range(ROUNDS):
        for name, some in choices.items():
            server = started(directory / f"{name}-{turn}", some)
            try:
                rates[name].append(TASKS / whole(server, NO_OP))
            finally:
                server.kill()
    none = statistics.median(rates["none"])
    for name, some_rates in rates.items():
        each = statistics.median(some_rates)
        print(
            f"brokers {name}: {each:.1f} no-op tasks/s, ratio {each / none:.2f}, "
            f"medians of {ROUNDS}"
        )


def started(directory: Path, peers: list[Peer]) -> TespServer:
    """A server whose events go to these brokers."""
    named = [{"name": peer.name, "url": peer.url} for peer in peers]
    return TespServer(
        directory, {"local": {"runtime": "sandbox"}, "bus": {"brokers": named}}
    ).start()


if __name__ == "__main__":
    main()
