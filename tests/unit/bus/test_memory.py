"""The bus within one process, where it differs from brokers."""

import pytest

from tesp.bus import Message
from tesp.bus.memory import MemoryBus
from tesp.errors import BusUnavailable


def messages(count: int) -> list[Message]:
    return [
        Message("a", {"ts": 1}, f"id-{n}", 1.0, "c", key="m.u.p.a.0000", type="0000")
        for n in range(count)
    ]


async def test_a_slow_subscriber_holds_publishers_up_and_loses_nothing() -> None:
    bus = MemoryBus(most_waiting=3)
    sent = messages(5)
    async with bus.subscribe("#") as slow, bus.subscribe("other") as other:
        await bus.publish(sent[:3])
        with pytest.raises(BusUnavailable, match="too slow"):
            await bus.publish(sent[3:])
        came = [(await anext(slow)).message for _ in range(2)]
        await bus.publish(sent[3:])
        came += [(await anext(slow)).message for _ in range(3)]
        await bus.close()
        assert [delivery async for delivery in other] == []
    assert came == sent


async def test_a_filter_of_keys_finds_messages_by_their_key() -> None:
    bus = MemoryBus()
    async with bus.subscribe("*.*.*.*.0000") as one, bus.subscribe("*.*.*.*.1100") as none:
        await bus.publish(messages(1))
        delivery = await anext(one)
        await bus.close()
        assert [delivery async for delivery in none] == []
    assert (delivery.message.key, delivery.trusted) == ("m.u.p.a.0000", True)


async def test_whoever_has_left_is_sent_nothing() -> None:
    bus = MemoryBus(most_waiting=1)
    async with bus.subscribe("#"):
        pass
    for message in messages(3):
        await bus.publish([message])
