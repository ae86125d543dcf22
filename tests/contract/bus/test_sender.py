"""Senders that have no store, and a real broker that goes away."""

import asyncio
import sys
import uuid
from pathlib import Path

from tesp.bus.sender import Sender, Sent
from tesp.bus.spool import Spool
from tesp.settings import BrokerSettings
from tests.contract.bus.harness import Site, up_to
from tests.peers.mosquitto import MosquittoServer

_ROOT = Path(__file__).parents[3]
_SENDS = """
import asyncio, sys
from pathlib import Path
from tesp.bus import Message, brokers
from tesp.bus.sender import Sender
from tesp.bus.spool import Spool
from tesp.settings import BrokerSettings
url, directory, topic, name, count = sys.argv[1:]
async def main():
    bus = brokers.one(BrokerSettings(name="m", url=url))
    sender = Sender(bus, Spool(Path(directory)))
    for number in range(int(count)):
        await sender.send([Message(topic, {"by": name}, f"{name}-{number}", 1.0, "c")])
    await bus.close()
asyncio.run(main())
"""


async def test_all_of_several_processes_arrives_in_order_although_the_broker_was_away(
    own_mosquitto: MosquittoServer, tmp_path: Path
) -> None:
    settings = BrokerSettings(name="m", url=own_mosquitto.url)
    here = Site("mosquitto", settings, f"r{uuid.uuid4().hex}")
    topic, client = f"{here.root}/a", f"client-{here.root}"
    names = ("one", "two", "three")
    async with here.opened(client_id=client) as bus, bus.subscribe(f"{here.root}/#") as deliveries:
        own_mosquitto.stop()
        senders = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _SENDS, own_mosquitto.url, tmp_path, topic, name, "3"),
                cwd=_ROOT,
            )
            for name in names
        ]
        assert [await sender.wait() for sender in senders] == [0] * len(names)
        assert Spool(tmp_path).count() == 3 * len(names)
        await asyncio.to_thread(own_mosquitto.start)
        last = here.message()
        assert await Sender(bus, Spool(tmp_path)).send([last]) is Sent.CONFIRMED
        came = list(dict.fromkeys(d.message.id for d in await up_to(deliveries, last)))
    for name in names:
        assert [one for one in came if one.startswith(name)] == [f"{name}-{n}" for n in range(3)]
    assert came[-1] == last.id
    assert len(came) == 3 * len(names) + 1
