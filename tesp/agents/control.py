"""The control topic: a pipeline's last failed task is raised again, or its tasks are canceled."""

import hashlib
import logging
from collections.abc import AsyncIterator
from typing import Protocol

from tesp.agents.listening import Listener
from tesp.agents.secret import is_right
from tesp.bus import MOST_HOPS, Delivery, Message, tael
from tesp.errors import Conflict, InvalidTask, NotFound
from tesp.settings import ControlSettings
from tesp.store import Cancel, EventStore, IdempotencyKey, TaskQuery, TaskStore
from tesp.store.admission import Admission
from tesp.tes.states import ENDED_BADLY, State
from tesp.tes.views import View, submission_of

_log = logging.getLogger(__name__)

TAG = "raised_from"
_FAILED = frozenset(ENDED_BADLY)
_ALIVE = frozenset({State.QUEUED, State.INITIALIZING, State.RUNNING, State.PAUSED})
# So many tasks are looked through for those of a name that cannot be told from others'.
_MOST_SEEN = 20_000


class Orders(TaskStore, EventStore, Protocol):
    """What orders are carried out on."""


class Control:
    """Obeys `action` = raise and cancel on `{prefix}/infrastructure/pipelines/NAME/control`."""

    def __init__(
        self,
        settings: ControlSettings,
        prefix: str,
        store: Orders,
        admission: Admission,
    ) -> None:
        secret = settings.secret
        self._secret = secret.get_secret_value() if secret else None
        self.topic = f"{prefix}/infrastructure/pipelines/+/control"
        self._store, self._admission = store, admission

    def listener(self) -> Listener:
        """As it listens."""
        return Listener("control", self.topic, self.take)

    async def take(self, delivery: Delivery) -> None:
        """Do what it says, if its sender may; raises StoreError where it is to be tried again."""
        message = delivery.message
        pipeline = message.topic.split("/")[-2]
        action = message.payload.get("action")
        if why := self._refusal(delivery, pipeline):
            _log.warning("Control of %r: %r is not obeyed: %s.", pipeline, message.id, why)
        elif action == "raise":
            await self._raise(pipeline, message)
        elif action == "cancel":
            await self._cancel(pipeline)
        else:
            _log.warning("Control of %r: there is no action %.100r.", pipeline, action)

    def _refusal(self, delivery: Delivery, pipeline: str) -> str | None:
        if self._secret is not None:
            if not is_right(delivery.message.payload.get("secret"), self._secret):
                return "it does not say the secret"
        elif not delivery.trusted:
            return "nobody vouches for its sender, and there is no secret to say"
        if delivery.retained:
            return "it is of an earlier time"
        if delivery.message.hops >= MOST_HOPS:
            return f"it came after {delivery.message.hops} hops"
        return "it has no name" if not pipeline else None

    async def _raise(self, pipeline: str, message: Message) -> None:
        async for task in self._named(pipeline, _FAILED):
            try:
                raised = await self._raised(task, message)
            except (InvalidTask, Conflict, NotFound) as error:
                _log.warning("Control of %r: %s is not raised: %s", pipeline, task, error)
            else:
                _log.info("Control of %r: %s is raised as %s.", pipeline, task, raised)
            return
        _log.warning("Control of %r: no task of that name has failed.", pipeline)

    async def _raised(self, task_id: str, message: Message) -> str:
        """The same once more, for the same owner; a message raises a task once."""
        task = await self._store.get(task_id, View.FULL)
        events = await self._store.history(task_id)
        if task is None or not events:
            raise NotFound("it was forgotten")
        submission = submission_of(task.body)
        tags = {**(submission.tags or {}), TAG: task_id}
        digest = hashlib.sha256(task.body.encode()).hexdigest()
        new = self._admission.task(
            submission.model_copy(update={"tags": tags}),
            events[0].owner,
            IdempotencyKey(f"control:{task_id}:{message.id}", digest),
            message.correlation,
            message.hops + 1,
        )
        return await self._store.create(new)

    async def _cancel(self, pipeline: str) -> None:
        ended = 0
        async for task in self._named(pipeline, _ALIVE):
            ended += await self._store.cancel(task) in (Cancel.ENDED, Cancel.ASKED)
        _log.info("Control of %r: %d tasks are canceled.", pipeline, ended)

    async def _named(self, pipeline: str, states: frozenset[State]) -> AsyncIterator[str]:
        """The tasks that tell of themselves under this name, newest first."""
        seen, after = 0, None
        # What is no sign of a topic was made an underscore; tasks without a name have one there.
        prefix = "" if pipeline == tael.who(None) else pipeline.partition("_")[0]
        while seen < _MOST_SEEN:
            query = TaskQuery(view=View.BASIC, after=after, states=states, name_prefix=prefix)
            page = await self._store.page(query)
            seen += len(page.tasks)
            for task in page.tasks:
                name = submission_of(task.body).name
                if tael.who(name) == pipeline:
                    yield task.id
            after = page.next
            if after is None:
                return
        _log.warning("Control of %r: only the newest %d tasks were looked at.", pipeline, seen)
