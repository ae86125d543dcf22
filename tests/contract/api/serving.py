"""The API over a real store, on a real port or without one; tasks brought into every state."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import httpx
import uvicorn
from fastapi import FastAPI

from tesp.api import FileParts, Parts, build_api
from tesp.errors import UnsupportedUrl
from tesp.settings import ServerSettings
from tesp.store import Change, EventLog, FigureStore, LeaseStore, Store, TaskStore
from tesp.store.admission import Admission
from tesp.tes.models import ExecutorLog, OutputFileLog, TaskLog
from tesp.tes.rules import Limits
from tesp.tes.states import State, Transition
from tesp.tes.views import logs_text

CURRENT = "/ga4gh/tes/v1"
OLDER = "/v1"
TASK: dict[str, Any] = {"executors": [{"image": "alpine:3.20", "command": ["true"]}]}
LIMITS = Limits(cpus=8, ram_bytes=32 * 10**9, body_bytes=1 << 20)
STORAGE = ["file:///shared/", "s3://"]

_WAYS: Mapping[State, tuple[Transition, ...]] = {
    State.INITIALIZING: (),
    State.RUNNING: (Transition.START,),
    State.COMPLETE: (Transition.START, Transition.COMPLETE),
    State.EXECUTOR_ERROR: (Transition.START, Transition.EXECUTOR_FAILED),
    State.SYSTEM_ERROR: (Transition.SYSTEM_FAILED,),
    State.PREEMPTED: (Transition.PREEMPT,),
}
REACHABLE = (State.QUEUED, State.CANCELED, State.CANCELING, *_WAYS)


class Kept(TaskStore, EventLog, FigureStore, Protocol):
    """What of a store the API needs."""


def api_over(
    store: Kept,
    urls: tuple[str, ...] = ("s3://",),
    files: FileParts | None = None,
    **settings: Any,
) -> FastAPI:
    """The API over a store; it takes URLs that begin with one of `urls`."""

    def check_url(url: str, writing: bool, kind: str | None) -> None:
        if not url.startswith(urls):
            raise UnsupportedUrl(f"{url}: no storage takes it; use {urls[0]}")

    return build_api(
        Parts(
            store=store,
            log=store,
            figures=store,
            settings=ServerSettings(**settings),
            admission=Admission(LIMITS, check_url),
            storage=lambda: STORAGE,
            owner=lambda request: request.headers.get("x-test-owner", "anonymous"),
            files=files,
        )
    )


def client_of(api: FastAPI) -> httpx.AsyncClient:
    """A client that calls the application in this process; errors come as answers."""
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://tesp.test")


@asynccontextmanager
async def served(api: FastAPI) -> AsyncIterator[str]:
    """The application on a port of its own; gives its URL."""
    # Without its protocol named, asyncio leaves Nagle's algorithm on: 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # who comes before the server is ready waits
    server = uvicorn.Server(
        # Who has not gone by then is cut off.
        uvicorn.Config(api, log_level="warning", lifespan="off", timeout_graceful_shutdown=5)
    )
    running = asyncio.create_task(server.serve([listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


ATTEMPT = TaskLog(
    logs=[
        ExecutorLog(
            exit_code=0,
            start_time="2026-01-02T03:04:05.000Z",
            end_time="2026-01-02T03:04:06.000Z",
            stdout="said",
            stderr="warned",
        )
    ],
    outputs=[OutputFileLog(url="s3://b/out", path="/data/out", size_bytes="3")],
    start_time="2026-01-02T03:04:05.000Z",
    system_logs=["a system's word"],
)


async def bring(store: Store, task_id: str, state: State) -> None:
    """Bring a queued task into a state, as a worker or a client would."""
    if state is State.QUEUED:
        return
    if state is State.CANCELED:
        await store.cancel(task_id)
        return
    leases: LeaseStore = store
    claim = await leases.claim(task_id, "local", "tester", 60)
    assert claim is not None
    if state is State.CANCELING:
        await store.cancel(task_id)
    logs = logs_text([ATTEMPT])
    for transition in _WAYS.get(state, ()):
        written = await leases.write(claim.fence, Change(transition=transition, logs=logs))
        assert written.applied
