"""Webhooks and callbacks against a real receiver: signed, in order, again until they are taken."""

import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tesp.agents import cursor_of
from tesp.agents.callbacks import NAME, Callbacks
from tesp.agents.feeder import Feeder
from tesp.agents.tenure import Tenure
from tesp.agents.webhook import WebhookSink
from tesp.bus import Message, tael
from tesp.events import Event
from tesp.settings import HookSettings, TargetSettings
from tesp.signature import refusal
from tesp.store import NewTask
from tesp.tes.identifiers import new_task_id
from tesp.tes.views import Text
from tests.contract.agents.log_room import LogRoom
from tests.contract.waiting import until
from tests.peers.hook_server import HookServer

SECRET = "0123456789abcdef"
SHORT = 0.6  # seconds of a lease


def told(event: Event) -> Message:
    return tael.message(event, "tesp")


class Names(AbstractResolver):
    """A resolver with names of its own."""

    def __init__(self, **names: str) -> None:
        self.names = {name.replace("_", "."): address for name, address in names.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.names[host]
        return [ResolveResult(hostname=host, host=address, port=port, family=2, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is open."""


class Site(LogRoom):
    """Events, and who tells of them."""

    async def happen(self, callback: str | None = None, cancel: bool = False, **more: Any) -> str:
        task = NewTask(new_task_id(), "ann", Text('"executors":[]'), callback=callback, **more)
        await self.add(task, cancel=cancel)
        return task.id

    async def hook(self, url: str, name: str = "a", **keys: Any) -> None:
        """A target of the site."""
        target = TargetSettings(name=name, url=url, secret=SECRET, **keys)
        sink = WebhookSink(target, told)
        await self.store.begin_cursor(cursor_of(sink.name))
        feeder = Feeder(sink, self.store, self.news, f"holder-{name}", 60)
        self.begin(sink.name, feeder.run(), sink.close)

    async def call_back(self, *hosts: str, resolver: Names | None = None, **keys: Any) -> None:
        """Callbacks to these hosts."""
        settings = HookSettings(callback_hosts=hosts, callback_secret=SECRET, **keys)
        await self.store.begin_cursor(NAME)
        tenure = Tenure(self.store, NAME, "me", SHORT)
        calling = Callbacks(settings, told, self.store, self.news, tenure, resolver)
        self.begin(NAME, calling.run())


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with Site.opened(tmp_path) as opened:
        yield opened


@pytest.fixture
def hooks() -> Iterator[HookServer]:
    with HookServer() as server:
        yield server


async def test_a_target_gets_every_event_signed_with_the_same_id_as_elsewhere(
    site: Site, hooks: HookServer
) -> None:
    await site.hook(f"{hooks.url}/x?token=y", timeout_seconds=60)
    task_id = await site.happen(cancel=True, name="n", correlation="c", hops=3)

    await until(lambda: len(hooks.got) == 2)

    history = await site.store.history(task_id)
    assert [p.path for p in hooks.got] == ["/x?token=y"] * 2
    assert [p.payload["status"] for p in hooks.got] == ["queued", "canceled"]
    for posted, event in zip(hooks.got, history, strict=True):
        header = posted.headers["Tesp-Signature"]
        assert refusal(SECRET.encode(), header, posted.body, time.time()) is None
        assert posted.headers["Tesp-Message-Id"] == posted.payload["message_id"] == event.id
        assert posted.headers["X-Correlation-ID"] == posted.payload["correlation_id"] == "c"
        assert posted.headers["Tesp-Hops"] == "3"
        assert posted.headers["Content-Type"] == "application/json"
        assert list(posted.payload)[-1] == "status"


async def test_a_target_gets_only_what_it_wants(site: Site, hooks: HookServer) -> None:
    await site.hook(f"{hooks.url}/ends", "ends", states=["CANCELED"])
    await site.hook(f"{hooks.url}/named", "named", name_prefix="a-")
    await site.hook(f"{hooks.url}/owned", "owned", owner="bob")
    await site.hook(f"{hooks.url}/all", "all")
    for name in ("a-1", "b-1"):
        await site.happen(cancel=True, name=name)

    await until(lambda: len(hooks.taken("/all")) == 4)
    await until(lambda: len(hooks.taken("/ends")) == 2 and len(hooks.taken("/named")) == 2)

    assert {p.payload["state"] for p in hooks.taken("/ends")} == {"CANCELED"}
    assert {p.payload["name"] for p in hooks.taken("/named")} == {"a-1"}
    assert hooks.taken("/owned") == []


async def test_what_fails_is_sent_again_and_nothing_that_was_taken(
    site: Site, hooks: HookServer
) -> None:
    hooks.statuses["/x"] = [200, 503, 429, 500, 200]
    for _ in range(2):
        await site.happen()
    await site.store.move_cursor("sink:webhook:a", 0)
    await site.hook(f"{hooks.url}/x")

    await until(lambda: len(hooks.got) == 5)

    ids = [e.event.id for e in await site.store.read(0)]
    assert [p.payload["message_id"] for p in hooks.got] == [ids[0], *[ids[1]] * 4]


async def test_a_target_that_is_away_holds_up_no_other_and_gets_all_when_it_is_back(
    site: Site, hooks: HookServer
) -> None:
    away = HookServer()
    await site.hook(f"{away.url}/x", "away")
    await site.hook(f"{hooks.url}/x", "here")
    made = [await site.happen() for _ in range(4)]
    await until(lambda: len(hooks.got) == 4)

    with away:
        await until(lambda: len(away.got) == 4)

    assert [p.payload["task"] for p in away.got] == made


async def test_a_redirect_is_not_followed(site: Site, hooks: HookServer) -> None:
    hooks.statuses["/x"] = [307]
    await site.hook(f"{hooks.url}/x")
    await site.happen()

    await until(lambda: len(hooks.got) == 2)

    assert [p.path for p in hooks.got] == ["/x", "/x"]


async def test_one_that_the_target_will_never_take_is_left_out(
    site: Site, hooks: HookServer
) -> None:
    hooks.statuses["/x"] = [422, 422]
    made = [await site.happen() for _ in range(2)]
    await site.store.move_cursor("sink:webhook:a", 0)
    await site.hook(f"{hooks.url}/x")

    await until(lambda: len(hooks.got) >= 3)

    assert hooks.got[-1].payload["task"] == made[1]


async def test_a_task_has_its_own_url_called(site: Site, hooks: HookServer) -> None:
    await site.call_back("127.0.0.1")
    await site.happen()
    one = await site.happen(f"{hooks.url}/one", cancel=True)
    two = await site.happen(f"{hooks.url}/two")

    await until(lambda: len(hooks.got) == 3)

    assert [p.payload["status"] for p in hooks.taken("/one")] == ["queued", "canceled"]
    assert {p.payload["task"] for p in hooks.taken("/one")} == {one}
    assert {p.payload["task"] for p in hooks.taken("/two")} == {two}
    posted = hooks.got[0]
    header = posted.headers["Tesp-Signature"]
    assert refusal(SECRET.encode(), header, posted.body, time.time()) is None


async def cursor_at(site: Site, sequence: int) -> None:
    async def there() -> bool:
        return await site.store.cursor(NAME) == sequence

    await until(there)


async def test_a_host_that_is_away_holds_up_no_other_and_hears_of_all_after_a_restart(
    site: Site, hooks: HookServer
) -> None:
    away = HookServer()
    await site.call_back("127.0.0.1")
    lost = [await site.happen(f"{away.url}/x") for _ in range(3)]
    for _ in range(3):
        await site.happen(f"{hooks.url}/x")
    await until(lambda: len(hooks.got) == 3)
    assert await site.store.cursor(NAME) == 0

    await site.stop()
    await site.call_back("127.0.0.1")
    with away:
        await until(lambda: len(away.got) == 3)
        await cursor_at(site, 6)

    assert [p.payload["task"] for p in away.got] == lost
    # What others had is sent again after a restart, and known by its id.
    assert len({p.payload["message_id"] for p in hooks.got}) == 3


async def test_a_callback_that_nobody_takes_is_given_up_in_time(
    site: Site, hooks: HookServer
) -> None:
    hooks.statuses["/x"] = [503] * 1000
    await site.call_back("127.0.0.1", callback_seconds=0.5)
    given_up = await site.happen(f"{hooks.url}/x")

    await cursor_at(site, 1)
    hooks.statuses.clear()

    async def taken() -> list[str]:
        # One of them is tried in time.
        await site.happen(f"{hooks.url}/x")
        return [posted.payload["task"] for posted in hooks.got if posted.answer == 200]

    assert given_up not in await until(taken)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410])
async def test_a_callback_that_is_refused_stands_in_nobodys_way(
    site: Site, hooks: HookServer, status: int
) -> None:
    hooks.statuses["/x"] = [status]
    await site.call_back("127.0.0.1")
    await site.happen(f"{hooks.url}/x")
    later = await site.happen(f"{hooks.url}/y")

    await until(lambda: len(hooks.got) == 2)

    assert [p.path for p in hooks.got] == ["/x", "/y"]
    assert hooks.got[-1].payload["task"] == later


async def test_private_addresses_are_called_only_by_a_name_that_is_allowed_itself(
    site: Site, hooks: HookServer, caplog: pytest.LogCaptureFixture
) -> None:
    names = Names(inside_example_org="127.0.0.1", named_example_org="127.0.0.1")
    await site.call_back("*.example.org", "named.example.org", resolver=names)
    inside = await site.happen(f"http://inside.example.org:{hooks.port}/x")
    named = await site.happen(f"http://named.example.org:{hooks.port}/x")

    await until(lambda: hooks.got)
    await cursor_at(site, 2)

    assert [p.payload["task"] for p in hooks.got] == [named]
    assert f"The callback of task {inside} is left out" in caplog.text
    assert "private address" in caplog.text


async def test_a_host_that_is_no_longer_allowed_is_not_called(
    site: Site, hooks: HookServer
) -> None:
    await site.call_back("hooks.example.org")
    await site.happen(f"{hooks.url}/x")

    await cursor_at(site, 1)

    assert hooks.got == []
