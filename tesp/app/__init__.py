"""The composition root: builds every part, wires them, and closes them again."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Literal, Self

import uvloop

from tesp import interpreter
from tesp.agents.listening import Listener
from tesp.agents.tenure import Tenure
from tesp.agents.together import together
from tesp.api import FileParts, Parts, build_api
from tesp.app.backends import offers_of, open_lanes
from tesp.app.entrances import Arrivals, entering, webhook_routes
from tesp.app.gauges import gauges
from tesp.app.listeners import listeners_of, listening
from tesp.app.server import Ready, Server
from tesp.app.sinks import Held, feeders
from tesp.bus import Bus, brokers
from tesp.dispatch.attempt import Tools
from tesp.dispatch.dispatcher import Dispatcher
from tesp.dispatch.lanes import Lanes
from tesp.dispatch.relay import Relay
from tesp.errors import SettingsError
from tesp.logs import configure_logging
from tesp.settings import LOCAL, Settings
from tesp.staging.keys import Keys
from tesp.staging.storages import Storages
from tesp.store import Store
from tesp.store.admission import Admission
from tesp.store.following import LogNews
from tesp.store.sqlite import SqliteStore
from tesp.tes import callbacks
from tesp.tes.offers import PARAMETER, largest
from tesp.tes.rules import BACKEND_PARAMETERS, Limits

__all__ = ["Ready", "Role", "serve"]

Role = Literal["all", "api", "dispatcher"]


def serve(
    settings: Settings,
    role: Role = "all",
    announce: Callable[[Ready], None] = print,
    sockets: Sequence[socket.socket] = (),
) -> None:
    """Run the service until SIGTERM or SIGINT, on these sockets or where the settings say.

    Running jobs outlive it.
    """
    configure_logging(settings.logging)
    interpreter.tune()
    uvloop.run(_serve(settings, role, announce, sockets))


async def _serve(
    settings: Settings,
    role: Role,
    announce: Callable[[Ready], None],
    sockets: Sequence[socket.socket],
) -> None:
    async with AsyncExitStack() as stack:
        store = await open_store(settings, role)
        stack.push_async_callback(store.close)
        storages = Storages(settings.staging)
        stack.push_async_callback(storages.close)
        keys = Keys(await store.secret("files"), settings.server.reachable_url())
        admission = admission_of(settings, storages)
        held = Held(store, LogNews(store), _holder(settings), settings.dispatch.lease_seconds)
        bus = _BusSide.of(settings, held, admission, stack)
        work: list[Awaitable[None]] = bus.arrivals.work(held)
        runtime = None
        if role != "api":
            lanes = await open_lanes(settings)
            for lane in lanes.all:
                stack.push_async_callback(lane.backend.close)
            runtime = _local_runtime(lanes)
            work.append(dispatcher_of(settings, held, lanes, storages, keys).run())
            work += bus.work(stack)
        if role == "dispatcher":
            announce(Ready(None, runtime, settings.data_dir, _pulsars(settings)))
            work.append(_until_signalled())
        else:
            api = build_api(parts_of(settings, held, storages, keys, admission))
            api.router.routes.extend(webhook_routes(settings, bus.arrivals))
            work.append(Server(api, settings, runtime, announce).serve(list(sockets) or None))
        await _until_first(work)


@dataclass(frozen=True, slots=True)
class _BusSide:
    """All that tells others of events, and hears what they say."""

    settings: Settings
    held: Held
    buses: Sequence[Bus]
    listeners: Sequence[Listener]
    arrivals: Arrivals

    @classmethod
    def of(
        cls, settings: Settings, held: Held, admission: Admission, stack: AsyncExitStack
    ) -> Self:
        """Nothing of it is connected yet; the brokers are closed with the stack."""
        buses = brokers.of(settings.bus)
        for bus in buses:
            stack.push_async_callback(bus.close)
        listeners = listeners_of(settings, held.store, admission)
        return cls(settings, held, buses, listeners, Arrivals.of(settings, buses, listeners))

    def work(self, stack: AsyncExitStack) -> list[Awaitable[None]]:
        """What is to run for ever."""
        # Who listens within the process feeds the bus there itself.
        inner = self.listeners and not self.settings.bus.brokers
        return [
            *feeders(self.settings, self.held, [] if inner else self.buses, stack),
            *self._hearing(),
            *gauges(self.settings, self.held, self.listeners),
        ]

    def _hearing(self) -> list[Awaitable[None]]:
        """What one process at a time does. Who lets something in is who listens: he knows what
        comes back to him from a broker."""
        settings, held = self.settings, self.held
        work = [
            *listening(settings, held, self.listeners, self.buses, self.arrivals.known),
            *entering(settings, self.arrivals),
        ]
        if not work:
            return []
        tenure = Tenure(held.store, "listeners", held.holder, held.lease_seconds)
        return [tenure.work(lambda: together(*(one() for one in work)))]


def _local_runtime(lanes: Lanes) -> str | None:
    local = (lane.backend.runtime().kind for lane in lanes.all if lane.offer.name == LOCAL)
    return next(local, None)


def _pulsars(settings: Settings) -> tuple[str, ...]:
    return tuple(pulsar.name for pulsar in settings.pulsars)


async def open_store(settings: Settings, role: Role = "all") -> Store:
    """The store that the settings name."""
    if settings.store.kind == "mongodb":
        # Beanie and its driver take a while to import: only who needs them waits.
        from tesp.store.mongo import MongoStore

        uri = settings.store.mongodb_uri.get_secret_value()
        return await MongoStore.open(uri, settings.store.database)
    if role != "all":
        raise SettingsError(
            f"role {role} needs a store that processes can share: set store.kind = mongodb"
        )
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return await SqliteStore.open(settings.data_dir / "tesp.db")


def dispatcher_of(
    settings: Settings, held: Held, lanes: Lanes, storages: Storages, keys: Keys
) -> Dispatcher:
    """The dispatcher of this process."""
    dispatch, store, holder = settings.dispatch, held.store, held.holder
    keep = dispatch.keep_events_days * 86400
    return Dispatcher(
        store,
        lanes,
        Tools(store, storages, keys, dispatch.retry_delay_seconds),
        holder,
        dispatch.lease_seconds,
        Relay(store, holder, dispatch.lease_seconds, keep, held.news.nudge),
        dispatch.abandon_seconds,
    )


def _holder(settings: Settings) -> str:
    """What no other process is called."""
    return f"{settings.machine_id()}:{os.getpid()}:{os.urandom(4).hex()}"


def admission_of(settings: Settings, storages: Storages) -> Admission:
    """What new tasks are judged by, whoever makes them."""
    return Admission(
        limits_of(settings),
        lambda url, writing, type: storages.check(url, writing=writing, type=type),
    )


def parts_of(
    settings: Settings, held: Held, storages: Storages, keys: Keys, admission: Admission
) -> Parts:
    """What the API works with."""
    return Parts(
        store=held.store,
        log=held.store,
        figures=held.store,
        settings=settings.server,
        admission=admission,
        storage=storages.locations,
        owner=lambda request: "anonymous",
        news=held.news,
        topic_prefix=settings.bus.prefix,
        files=FileParts(
            store=held.store,
            storages=storages,
            keys=keys,
            transfers=settings.dispatch.transfers,
            silence_seconds=settings.staging.timeout_seconds,
        ),
    )


def limits_of(settings: Settings) -> Limits:
    """What can be asked for: no more of anything than one backend has."""
    offers = offers_of(settings)
    most = largest(size for offer in offers.all for size in offer.sizes)
    return Limits(
        cpus=most.cpus,
        ram_bytes=most.ram_bytes,
        max_retries=settings.dispatch.max_retries,
        parameters=BACKEND_PARAMETERS
        | ({PARAMETER} if settings.pulsars else frozenset())
        | ({callbacks.PARAMETER} if settings.webhooks.callback_hosts else frozenset()),
        callback_hosts=settings.webhooks.callback_hosts,
        offers=offers,
    )


async def _until_signalled() -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()


async def _until_first(work: Sequence[Awaitable[None]]) -> None:
    """Run all until one ends, then end the others; a failure of any is ours."""
    tasks = [asyncio.ensure_future(w) for w in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
