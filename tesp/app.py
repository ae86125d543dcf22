"""The composition root: builds every part, wires them, and closes them again."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

import uvicorn
import uvloop
from fastapi import FastAPI

from tesp import interpreter
from tesp.api import Parts, Waiting, build_api
from tesp.backends import Backend, Capacity, package
from tesp.backends.local import LocalBackend
from tesp.backends.local.detection import choose
from tesp.dispatch.attempt import Tools
from tesp.dispatch.dispatcher import Dispatcher
from tesp.dispatch.relay import Relay
from tesp.errors import SettingsError
from tesp.logs import configure_logging
from tesp.runner.plan import Runtime
from tesp.settings import Settings
from tesp.staging.storages import Storages
from tesp.store import Store
from tesp.store.sqlite import SqliteStore
from tesp.tes.rules import Limits

Role = Literal["all", "api", "dispatcher"]


@dataclass(frozen=True, slots=True)
class Ready:
    """What the operator is told when the service can be used."""

    url: str | None
    runtime: str | None
    data_dir: Path


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
        backends = await open_backends(settings) if role != "api" else []
        for backend in backends:
            stack.push_async_callback(backend.close)
        work: list[Awaitable[None]] = []
        if role != "api":
            work.append(dispatcher_of(settings, store, backends, storages).run())
        kind = backends[0].runtime().kind if backends else None
        if role == "dispatcher":
            announce(Ready(None, kind, settings.data_dir))
            work.append(_until_signalled())
        else:
            api = build_api(parts_of(settings, store, storages))
            work.append(_Server(api, settings, kind, announce).serve(list(sockets) or None))
        await _until_first(work)


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


async def open_backends(settings: Settings) -> list[Backend]:
    """Every backend that the settings name."""
    if not settings.local.enabled:
        raise SettingsError("no backend is enabled: set local.enabled = true")
    return [await _local_backend(settings)]


async def _local_backend(settings: Settings) -> LocalBackend:
    local = settings.local
    detected = await choose(local, settings.containers)
    work = settings.data_dir / "work"
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    python = local.python or sys.executable
    runner = package.build(settings.data_dir)
    return LocalBackend(
        f"local@{settings.machine_id()}",
        work,
        [python, "-I", "-S", str(runner)],
        _runtime(settings, detected.kind, detected.program),
        Capacity(local.slots, local.cpus, round(local.ram_gb * 1e9)),
    )


def _runtime(settings: Settings, kind: str, program: str) -> Runtime:
    containers = settings.containers
    host = {"DOCKER_HOST": containers.docker_host} if containers.docker_host else {}
    return Runtime(
        kind=kind,
        program=program,
        user=containers.user,
        network=containers.network,
        environment=host,
        registries={
            r.host: {"username": r.username, "password": r.password.get_secret_value()}
            for r in containers.registries
        },
        image_cache=str(containers.image_cache) if containers.image_cache else None,
        sandbox_paths=[str(p) for p in containers.sandbox_paths],
    )


def dispatcher_of(
    settings: Settings, store: Store, backends: Sequence[Backend], storages: Storages
) -> Dispatcher:
    """The dispatcher of this process."""
    dispatch = settings.dispatch
    holder = f"{settings.machine_id()}:{os.getpid()}:{os.urandom(4).hex()}"
    transfers = asyncio.Semaphore(dispatch.transfers)
    return Dispatcher(
        store,
        backends,
        Tools(store, storages, transfers, dispatch.retry_delay_seconds),
        holder,
        dispatch.lease_seconds,
        Relay(store, holder, dispatch.lease_seconds),
    )


def parts_of(settings: Settings, store: Store, storages: Storages) -> Parts:
    """What the API works with."""
    limits = Limits(
        cpus=settings.local.cpus,
        ram_bytes=round(settings.local.ram_gb * 1e9),
        max_retries=settings.dispatch.max_retries,
    )
    return Parts(
        store=store,
        log=store,
        settings=settings.server,
        limits=limits,
        check_url=lambda url, writing, type: storages.check(url, writing=writing, type=type),
        storage=storages.locations,
        owner=lambda request: "anonymous",
    )


class _Server(uvicorn.Server):
    """Announces itself when it answers."""

    def __init__(
        self,
        api: FastAPI,
        settings: Settings,
        runtime: str | None,
        announce: Callable[[Ready], None],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                api,
                host=settings.server.host,
                port=settings.server.port,
                loop="none",
                http="httptools",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )
        self._waiting: Waiting = api.state.waiting
        self._settings = settings
        self._runtime = runtime
        self._announce = announce

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End; who waits for a task is answered now, or the end would wait for them."""
        super().handle_exit(sig, frame)
        self._waiting.end()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Only ask the server to end; uvicorn's own way kills the process before it is closed."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Listen, then tell where."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            url = f"http://{self._settings.server.host}:{port}"
            self._announce(Ready(url, self._runtime, self._settings.data_dir))


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
