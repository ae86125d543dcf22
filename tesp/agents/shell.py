"""The shell listener: a message that says `finished` runs a command, and both are announced."""

import asyncio
import logging
import os
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from tesp.agents.announcer import Announcer
from tesp.agents.command import Command
from tesp.agents.environment import Exports
from tesp.agents.secret import is_right
from tesp.bus import MOST_HOPS, Bus, Delivery, Message, Value, tael
from tesp.bus.known import Known

_log = logging.getLogger(__name__)

SECRET = "secret"
_MOST_WAITING = 1000
_GOODBYE_SECONDS = 0.5
_CANCELED = "canceled by control message"


@dataclass(frozen=True, slots=True)
class Orders:
    """What a listener listens to, runs, and is called."""

    topic: str
    command: str
    who: str
    prefix: str
    parallel: int = 1
    grace_seconds: float = 30.0
    exports: Exports = field(default_factory=Exports)
    secret: str | None = None

    def obeys(self, delivery: Delivery) -> bool:
        """Whether its sender may raise and cancel: where there is a secret, who says it."""
        return self.secret is None or is_right(delivery.message.payload.get(SECRET), self.secret)

    @property
    def status_topic(self) -> str:
        """Where it announces."""
        return tael.status_topic(self.prefix, self.who)

    @property
    def control_topic(self) -> str:
        """Where it is told what to do."""
        return tael.control_topic(self.prefix, self.who)


class ShellListener:
    """One listener. `kept`: the broker keeps for it what comes while it is away; so it asks for a
    message only when there is room for its command, and acknowledges what has been run."""

    def __init__(self, bus: Bus, announcer: Announcer, orders: Orders, kept: bool) -> None:
        self._bus, self._announcer, self._orders, self._kept = bus, announcer, orders, kept
        self._places = asyncio.Semaphore(orders.parallel if kept else _MOST_WAITING)
        self._slots = asyncio.Semaphore(orders.parallel)
        self._runs: set[asyncio.Task[bool]] = set()
        self._commands: dict[Command, str | None] = {}
        self._known = Known()
        self._cancels = 0
        self._stopping = False

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Listen until `stop` is set. What runs then has its grace, or until `hurry` is set.
        Raises BusRefused where the broker refuses the subscription."""
        async with self._announcer.speaking():
            listening = [asyncio.create_task(one) for one in (self._take(), self._obey())]
            stopped = asyncio.create_task(stop.wait())
            try:
                await _first(*listening, stopped)
            finally:
                await self._end_runs(hurry)
                if self._kept:
                    # So that what has been run is acknowledged.
                    await asyncio.wait(listening, timeout=_GOODBYE_SECONDS)
                for task in (*listening, stopped):
                    task.cancel()
                await asyncio.gather(*listening, stopped, return_exceptions=True)

    async def _take(self) -> None:
        async with self._bus.subscribe(self._orders.topic, name=self._orders.who) as deliveries:
            _log.info("Listens to %s.", self._orders.topic)
            async for delivery in deliveries:
                # That one is not acknowledged: where it is kept, it comes again.
                if self._stopping and self._kept:
                    return
                if delivery.message.topic == self._orders.control_topic:
                    continue
                if reason := self._reason(delivery):
                    await self._places.acquire()
                    run = self._begin(delivery.message, reason)
                    run.add_done_callback(lambda _: self._places.release())
                    async with self._places:
                        pass
                    # Nor is one that will not be run any more.
                    if self._stopping and self._kept and not await run:
                        return

    async def _obey(self) -> None:
        topic = self._orders.control_topic
        async with self._bus.subscribe(topic, name=f"{self._orders.who}-control") as deliveries:
            _log.info("Listens to %s.", topic)
            async for delivery in deliveries:
                if not self._orders.obeys(delivery):
                    _log.warning("%s: not obeyed: it does not say the secret.", topic)
                elif delivery.message.payload.get("action") == "cancel":
                    await self._cancel(delivery)
                elif len(self._runs) >= _MOST_WAITING:
                    _log.warning("%s: too many wait already.", topic)
                elif reason := self._reason(delivery):
                    self._begin(_without_secret(delivery.message), reason)

    def _begin(self, message: Message, reason: str) -> "asyncio.Task[bool]":
        run = asyncio.create_task(self._in_turn(message, reason, self._cancels))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        return run

    def _reason(self, delivery: Delivery) -> str | None:
        """Why the command is to run, if it is."""
        message = delivery.message
        reason = _wish(message)
        if reason is None or message.topic == self._orders.status_topic:
            return None
        if message.topic.endswith("control") and not self._orders.obeys(delivery):
            return None
        if delivery.retained:
            _log.info("%s: of an earlier time, not acted on.", message.topic)
        elif message.hops >= MOST_HOPS:
            _log.warning("%s: after %d hops this ends here.", message.topic, message.hops)
        elif self._is_known(delivery):
            _log.info("%s: %s has been here already.", message.topic, message.id)
        else:
            return reason
        return None

    def _is_known(self, delivery: Delivery) -> bool:
        """Brokers and senders may repeat a message. Where its sender gave it no id, another that
        says the same is another message."""
        name = delivery.message.id
        if name in self._known:
            return True
        if name.encode() in delivery.raw:
            self._known.add(name)
        return False

    async def _cancel(self, delivery: Delivery) -> None:
        if delivery.retained or self._is_known(delivery):
            return
        _log.info("Cancels %d commands, as %s says.", len(self._commands), delivery.message.topic)
        self._cancels += 1
        for command in self._commands:
            self._commands[command] = _CANCELED
        await self._end_commands()

    async def _in_turn(self, message: Message, reason: str, cancels: int) -> bool:
        """Run it when it is its turn; whether it was run. A cancel that came since so many of them
        ends it, too, unless it had to wait: what waits is no command yet."""
        if not self._stopping:
            waits = self._slots.locked()
            if waits:
                _log.info("Waits for its turn: %s (%s).", reason, message.id)
            async with self._slots:
                if not self._stopping:
                    await self._run(message, reason, self._cancels if waits else cancels)
                    return True
        _log.warning("Not run any more: %s (%s).", reason, message.id)
        return False

    async def _run(self, message: Message, reason: str, cancels: int) -> None:
        exports = self._orders.exports
        passed = exports.passed_on(message)
        if missing := exports.missing(message):
            self._say_falsestart(message, f"{reason} without {', '.join(missing)}", passed)
            return
        self._say(message, {"reason": reason, **passed, "announce": False, "status": "started"})
        began = time.monotonic()
        try:
            environ = exports.put_over(os.environ, message)
            command = await Command.start(self._orders.command, environ)
        except (OSError, ValueError) as error:
            self._say_falsestart(message, f"the command could not be started: {error}", passed)
            return
        self._commands[command] = None
        if cancels != self._cancels:
            self._commands[command] = _CANCELED
            await command.end()
        code = await command.wait()
        why = self._commands.pop(command)
        self._say(message, {**passed, **_ended(code, time.monotonic() - began, why)})

    def _say_falsestart(self, cause: Message, reason: str, passed: dict[str, Value]) -> None:
        _log.error("Not started: %s.", reason)
        said = {"return_code": None, "announce": True, "time_elapsed": None, "reason": reason}
        self._say(cause, {**passed, **said, "status": "falsestart"})

    def _say(self, cause: Message, payload: dict[str, Value]) -> None:
        _log.info("%s: %s", self._orders.who, payload["status"])
        self._announcer.say(
            Message(
                self._orders.status_topic,
                payload,
                str(uuid.uuid4()),
                time.time(),
                cause.correlation,
                cause.hops + 1,
            )
        )

    async def _end_runs(self, hurry: asyncio.Event) -> None:
        self._stopping = True
        if not self._runs:
            return
        _log.info("Waits up to %g s for what runs.", self._orders.grace_seconds)
        ended = asyncio.gather(*self._runs)
        impatient = asyncio.create_task(hurry.wait())
        await asyncio.wait(
            (ended, impatient),
            timeout=self._orders.grace_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        impatient.cancel()
        while not ended.done():
            await self._end_commands()
            await asyncio.wait((ended,), timeout=_GOODBYE_SECONDS)

    async def _end_commands(self) -> None:
        await asyncio.gather(*(command.end() for command in list(self._commands)))


def _wish(message: Message) -> str | None:
    """What a message asks for, in the words of Tael's own client."""
    if message.topic.endswith("status") and message.payload.get("status") == "finished":
        return f"{message.topic} finished"
    if message.topic.endswith("control") and message.payload.get("action") == "raise":
        return "manually raised by control message"
    return None


def _without_secret(message: Message) -> Message:
    """It is for us, and not for what a command starts or tells."""
    return replace(message, payload={k: v for k, v in message.payload.items() if k != SECRET})


def _ended(code: int, seconds: float, why: str | None) -> dict[str, Value]:
    said: dict[str, Value] = {
        "return_code": code,
        "announce": code != 0,
        "time_elapsed": str(timedelta(seconds=seconds)),
    }
    if why is not None:
        said["reason"] = why
    return {**said, "status": "failed" if code else "finished"}


async def _first(*tasks: "asyncio.Task[Any]") -> None:
    """Wait for the first that ends, and raise what it raises."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
