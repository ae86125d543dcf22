"""Triggers: a message that fits starts a task, or a command."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import orjson

from tesp.agents.conditions import Conditions
from tesp.agents.listening import Listener
from tesp.agents.program import Program
from tesp.bus import MOST_HOPS, Delivery, Message, Value
from tesp.bus.known import Known
from tesp.errors import Conflict, InvalidTask, SettingsError, StoreError
from tesp.settings import TriggerSettings
from tesp.store import IdempotencyKey, TaskStore
from tesp.store.admission import Admission
from tesp.tes import templates
from tesp.tes.parsing import parse

_log = logging.getLogger(__name__)

TAG = "trigger"
# What stands for a field when a template is tried at the start.
_SAMPLE = "1"


class Action(Protocol):
    """What a trigger starts. What cannot be started is logged, and the message is done with."""

    async def start(self, message: Message) -> None:
        """Start it; raises StoreError where that is to be tried again."""
        ...


class Trigger:
    """One rule."""

    def __init__(self, settings: TriggerSettings, action: Action) -> None:
        self.name, self.topic = settings.name, settings.topic
        self._trusted_only = settings.trusted_only
        self._conditions = Conditions(settings.when)
        self._action = action
        self._known = Known()

    def listener(self) -> Listener:
        """As it listens."""
        return Listener(f"trigger-{self.name}", self.topic, self.take)

    async def take(self, delivery: Delivery) -> None:
        """Start what is to be started, if the message fits."""
        message = delivery.message
        if not self._conditions.hold(message.payload) or self._is_refused(delivery):
            return
        # Several brokers may bring the same message.
        if message.id in self._known:
            return
        self._known.add(message.id)
        try:
            await self._action.start(message)
        except StoreError:
            self._known.discard(message.id)
            raise

    def _is_refused(self, delivery: Delivery) -> bool:
        message = delivery.message
        why = None
        if delivery.retained:
            why = "is of an earlier time"
        elif self._trusted_only and not delivery.trusted:
            why = "is of a sender whom nobody vouches for"
        elif message.hops >= MOST_HOPS:
            why = f"came after {message.hops} hops: it ends here"
        if why:
            _log.warning("Trigger %s: %r on %r %s.", self.name, message.id, message.topic, why)
        return why is not None


class TaskAction:
    """Submits a task made of a template."""

    def __init__(self, settings: TriggerSettings, store: TaskStore, admission: Admission) -> None:
        """Raises SettingsError where no task that the template makes could run."""
        self._name, self._owner = settings.name, settings.owner
        self._template = settings.template() or {}
        self._store, self._admission = store, admission
        sample = dict.fromkeys(templates.fields_of(self._template), _SAMPLE)
        try:
            self._admission.task(parse(self._document(sample)), self._owner, None)
        except InvalidTask as error:
            raise SettingsError(f"triggers: {self._name}: task: {error}") from error

    async def start(self, message: Message) -> None:
        """Submit it; the same message submits nothing twice."""
        try:
            body = self._document(_fields(message))
            key = IdempotencyKey(
                f"{TAG}:{self._name}:{message.id}", hashlib.sha256(body).hexdigest()
            )
            new = self._admission.task(
                parse(body), self._owner, key, message.correlation, message.hops + 1
            )
            task = await self._store.create(new)
        except (InvalidTask, Conflict) as error:
            _log.warning("Trigger %s: %r starts nothing: %s", self._name, message.id, error)
            return
        _log.info("Trigger %s: %r started the task %s.", self._name, message.id, task)

    def _document(self, fields: Mapping[str, Value]) -> bytes:
        task = templates.filled(self._template, fields)
        task["tags"] = {**(task.get("tags") or {}), TAG: self._name}
        try:
            return orjson.dumps(task)
        except orjson.JSONEncodeError as error:
            raise InvalidTask([]) from error


def _fields(message: Message) -> dict[str, Value]:
    """What the message says, and what is known of it."""
    own: dict[str, Value] = {
        "message.id": message.id,
        "message.topic": message.topic,
        "message.correlation": message.correlation,
    }
    return {**message.payload, **own}


def triggers_of(
    settings: Sequence[TriggerSettings], store: TaskStore, admission: Admission
) -> list[Trigger]:
    """The rules of the settings; raises SettingsError."""
    return [
        Trigger(one, Program(one) if one.command else TaskAction(one, store, admission))
        for one in settings
    ]
