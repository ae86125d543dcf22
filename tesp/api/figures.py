"""What waits: events before sinks, messages in brokers' queues, tasks in each state.

Nothing is asked of a broker here: what the dispatcher's process measured is in the store.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tesp.agents import sink_of
from tesp.agents.gauge import EVERY_SECONDS, PREFIX
from tesp.api.resources import Resource
from tesp.bus.depths import Measured
from tesp.store import FigureStore, Reading, Standing
from tesp.tes.states import State

# The text format of Prometheus.
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_FRESH_SECONDS = 5.0
# A broker that was not measured for so long is measured by nobody.
_STALE_SECONDS = 8 * EVERY_SECONDS

Labels = Mapping[str, str]


class SinkFigures(BaseModel):
    """Who is told of events: a broker, a webhook, the callbacks."""

    name: str
    waiting: int = Field(description="Events that it has yet to confirm")
    oldest: float | None = Field(description="When the oldest of them happened, since 1970")
    moved: float | None = Field(description="When it confirmed something last")


class QueueFigures(BaseModel):
    """A queue of a broker."""

    name: str
    messages: int
    consumers: int


class BrokerFigures(BaseModel):
    """A broker, as it was when it was measured."""

    name: str
    measured: float
    error: str | None = None
    queues: list[QueueFigures]


class QueueReport(BaseModel):
    """What waits, and who takes it."""

    time: float
    sinks: list[SinkFigures]
    brokers: list[BrokerFigures]


class Figures:
    """The endpoints of figures. Tasks are counted anew every few seconds at the most."""

    def __init__(self, store: FigureStore) -> None:
        self._store = store
        self._counting = asyncio.Lock()
        self._counted_at = -_FRESH_SECONDS
        self._counts: Mapping[State, int] = {}

    def routes(self) -> list[BaseRoute]:
        """Their routes."""
        return [
            Route("/metrics", Resource(GET=self.metrics)),
            Route("/queues", Resource(GET=self.queues)),
        ]

    async def queues(self, request: Request) -> Response:
        """For people and programs."""
        report = await self._report()
        return Response(report.model_dump_json(), media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        report = await self._report()
        lines = [*_tasks(await self._tasks_by_state()), *_waiting(report), *_queues(report)]
        return Response("\n".join([*lines, ""]), headers={"Content-Type": _TEXT})

    async def _report(self) -> QueueReport:
        standings, readings = await asyncio.gather(self._store.standings(), self._store.readings())
        now = time.time()
        return QueueReport(
            time=now,
            sinks=list(_sinks(standings)),
            brokers=[
                _broker(one)
                for one in readings
                if one.name.startswith(PREFIX) and now - one.time < _STALE_SECONDS
            ],
        )

    async def _tasks_by_state(self) -> Mapping[State, int]:
        async with self._counting:
            if time.monotonic() - self._counted_at >= _FRESH_SECONDS:
                self._counts = await self._store.counts()
                self._counted_at = time.monotonic()
        return self._counts


def _sinks(standings: Sequence[Standing]) -> Iterator[SinkFigures]:
    for one in standings:
        if name := sink_of(one.name):
            yield SinkFigures(name=name, waiting=one.waiting, oldest=one.oldest, moved=one.moved)


def _broker(one: Reading) -> BrokerFigures:
    measured = Measured.of(one.text)
    return BrokerFigures(
        name=one.name.removeprefix(PREFIX),
        measured=one.time,
        error=measured.error,
        queues=[
            QueueFigures(name=q.name, messages=q.messages, consumers=q.consumers)
            for q in measured.queues
        ],
    )


def _tasks(counts: Mapping[State, int]) -> Iterator[str]:
    samples = [({"state": state.value}, counts.get(state, 0)) for state in State]
    yield from _gauge("tesp_tasks", "Tasks in each state", samples)


def _waiting(report: QueueReport) -> Iterator[str]:
    of = {one.name: {"sink": one.name} for one in report.sinks}
    waiting = [(of[s.name], s.waiting) for s in report.sinks]
    yield from _gauge("tesp_sink_waiting_events", "Events that a sink has yet to take", waiting)
    ages = [(of[s.name], max(0.0, report.time - (s.oldest or report.time))) for s in report.sinks]
    yield from _gauge("tesp_sink_oldest_waiting_seconds", "Age of the oldest of them", ages)
    moves = [(of[s.name], s.moved) for s in report.sinks if s.moved is not None]
    yield from _gauge("tesp_sink_moved_timestamp_seconds", "When it took something last", moves)


def _queues(report: QueueReport) -> Iterator[str]:
    up = [({"broker": b.name}, int(b.error is None)) for b in report.brokers]
    yield from _gauge("tesp_broker_up", "Whether a broker's queues could be looked at", up)
    found = [({"broker": b.name, "queue": q.name}, q) for b in report.brokers for q in b.queues]
    depths = [(labels, queue.messages) for labels, queue in found]
    yield from _gauge("tesp_queue_messages", "Messages that wait in a queue", depths)
    takers = [(labels, queue.consumers) for labels, queue in found]
    yield from _gauge("tesp_queue_consumers", "Who takes them", takers)


def _gauge(name: str, words: str, samples: Sequence[tuple[Labels, float]]) -> Iterator[str]:
    if samples:
        yield f"# HELP {name} {words}"
        yield f"# TYPE {name} gauge"
    for labels, value in samples:
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{name}{{{shown}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
