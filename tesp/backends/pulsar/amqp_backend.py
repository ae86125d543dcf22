"""Jobs on a Pulsar that is reached over AMQP alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from tesp.backends import Capacity, Ended, Job, Seen, package
from tesp.backends.pulsar import command, messages, wire
from tesp.backends.pulsar.amqp import Broker
from tesp.backends.pulsar.control import Control
from tesp.backends.pulsar.following import Following
from tesp.backends.pulsar.messages import SEND_URL_FILE, Staging
from tesp.backends.pulsar.requests import Requests
from tesp.backends.pulsar.updates import News, Updates
from tesp.backends.pulsar.wire import Name, Status
from tesp.errors import BackendUnavailable
from tesp.runner.plan import CLAIM_FILE, Plan, Runtime
from tesp.settings import PulsarSettings
from tesp.tes.needs import Needs

SILENCE_SECONDS = 120.0
# A runner that is told to end has to stop its container.
_GRACE_SECONDS = 30.0
_KILL_SECONDS = 10.0
_ASK_SECONDS = 1.0
# A scheduler that is away keeps who puts a job into its queue.
_START_SECONDS = 60.0
_START_PAUSE_SECONDS = 0.2


class AmqpPulsar:
    """One Pulsar over AMQP. Any process can follow any job of it, one at a time.

    Its jobs' files are carried by Pulsar itself, or by the node (`staging` of the settings).
    """

    def __init__(
        self,
        settings: PulsarSettings,
        runtime: Runtime,
        *,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.name = settings.name
        self.remote = True
        self.sees_shared_roots = settings.shares_files
        self._settings, self._runtime = settings, runtime
        self._silence_seconds = silence_seconds
        self._updates = Updates(settings.name)
        self._broker = broker_of(settings, self._updates)
        self._requests = Requests(settings, self._broker, self._updates)
        self._control = Control(settings, self._requests, self._updates)
        self._fresh: set[str] = set()
        self._sent: set[str] = set()
        self._canceled: set[str] = set()
        self._ended: set[str] = set()

    async def check(self) -> None:
        """See that the broker answers, that we are heard there, and that Pulsar takes jobs."""
        await self._requests.check(managers_used(self._settings), self._silence_seconds)

    def capacity(self) -> Capacity:
        """What the settings give to all tasks together."""
        return wire.capacity_of(self._settings.limits)

    def runtime(self) -> Runtime:
        """How containers are started on its nodes."""
        return self._runtime

    async def prepare(self, handle: str, epoch: int, needs: Needs) -> Job:
        """A name: the directory is made with the start of the job."""
        job = Name.of(wire.manager_for(self._settings, needs), handle, epoch)
        self._fresh.add(job.id)
        return Job(handle, job.place)

    def workspace(self, job: Job) -> None:
        """The job's side moves the files."""
        return

    async def submit(self, job: Job, plan: Plan) -> None:
        """Send the runner with its plan, once. It starts when Pulsar is there."""
        name = Name.at(job.place)
        if name.id in self._canceled or await self._was_sent(name):
            return
        plan, staging = self._shared_out(plan)
        texts = messages.archive_text(package.with_plan(plan))
        if staging.send_url:
            texts[SEND_URL_FILE] = staging.send_url
        staging = Staging(texts, staging.fetches, staging.send_url)
        line = command.decoded(command.run_line(self._settings.python))
        params = wire.submit_params(self._settings, plan.limits)
        self._fresh.discard(name.id)
        self._updates.expect(name.id, begins=True)
        await self._requests.run(name, line, params, staging)
        self._sent.add(name.id)

    async def _was_sent(self, job: Name) -> bool:
        """Whether a job is on its way, or there. Two messages about one job, taken one right
        after the other, would have Pulsar start it twice in the same place."""
        if job.id in self._fresh:
            return False
        if job.id in self._sent:
            return True
        with self._updates.follow(job.id) as news:
            return not (await self._requests.standing(job, news)).gone

    def _shared_out(self, plan: Plan) -> tuple[Plan, Staging]:
        """What the runner has to do, and what Pulsar."""
        if self._settings.staging == "node":
            return plan, Staging()
        runners = plan._replace(fetches=[], send_url=None, publish=True)
        return runners, Staging({}, plan.fetches, plan.send_url)

    async def watch(self, job: Job) -> AsyncIterator[Seen | Ended]:
        """Follow a job by what Pulsar tells; while it is out of reach, wait for it."""
        name = Name.at(job.place)
        following = Following(
            name,
            self._settings,
            self._requests,
            self._control,
            self._updates,
            silence_seconds=self._silence_seconds,
            is_canceled=lambda: name.id in self._canceled,
        )
        async with aclosing(following.items()) as items:
            async for item in items:
                if isinstance(item, Ended) and item.result:
                    self._ended.add(name.id)
                yield item

    async def cancel(self, job: Job) -> None:
        """Tell the runner to end; kill it where it does not; then see that nothing is left."""
        name = Name.at(job.place)
        self._canceled.add(name.id)
        with self._updates.follow(name.id) as news:
            await self._end(name, news)

    async def _end(self, job: Name, news: News) -> Status:
        status = await self._requests.standing(job, news)
        if status.gone or _is_over(status):
            return status
        if status.state == wire.PREPROCESSING:
            if await self._control.forbid(job):
                return status
            status = await self._started(job, news)
            if status.gone or _is_over(status):
                return status
        waits = status.state == wire.QUEUED
        if waits:
            await self._requests.kill(job)
        await self._control.end(job, waits=waits)
        if await self._comes_to_its_end(job, news, _GRACE_SECONDS):
            return status
        await self._requests.kill(job)
        await self._comes_to_its_end(job, news, _KILL_SECONDS)
        await self._control.end(job, waits=False)
        return status

    async def _started(self, job: Name, news: News) -> Status:
        """Wait until a job is with the scheduler: before that, Pulsar cannot take it back."""
        until = asyncio.get_running_loop().time() + _START_SECONDS
        while asyncio.get_running_loop().time() < until:
            status = await self._requests.standing(job, news)
            if status.state != wire.PREPROCESSING:
                return status
            await asyncio.sleep(_START_PAUSE_SECONDS)
        raise BackendUnavailable(
            f"The Pulsar {self.name} has been starting the job for {_START_SECONDS:g} s."
        )

    async def _comes_to_its_end(self, job: Name, news: News, seconds: float) -> bool:
        """Whether a job ends in time, by what Pulsar says, or by its result."""
        until = asyncio.get_running_loop().time() + seconds
        news.drop()
        while asyncio.get_running_loop().time() < until:
            await self._requests.ask(job)
            status = await news.next(_ASK_SECONDS)
            if status and (status.gone or _is_over(status)):
                return True
            if status and status.state in wire.FINAL:
                return False
            look = await self._control.look(job)
            if look.report and look.report.result:
                return True
        return False

    async def clean(self, job: Job) -> None:
        """Remove the directory: at once, or soon and with others where the job has ended well."""
        name = Name.at(job.place)
        if name.id in self._ended and name.id not in self._canceled:
            self._control.discard_soon(name)
        else:
            await self._clean_now(name)
        self._updates.forget(name.id)
        for known in (self._fresh, self._sent, self._ended, self._canceled):
            known.discard(name.id)

    async def _clean_now(self, job: Name) -> None:
        with self._updates.follow(job.id) as news:
            status = await self._end(job, news)
        if status.gone:
            return
        await self._control.discard(job)
        if status.state == wire.PREPROCESSING:
            self._control.discard_again(job)

    async def close(self) -> None:
        """Listen no more; jobs go on."""
        await self._control.close()
        await self._broker.close()


def managers_used(settings: PulsarSettings) -> list[str]:
    """Every manager that jobs or control jobs may go to, each once."""
    control = [settings.control_manager] if settings.control_manager else []
    return list(dict.fromkeys([*wire.managers_of(settings), *control]))


def queues_of(settings: PulsarSettings) -> tuple[str, ...]:
    """The queues of all managers of a Pulsar, each once."""
    prefix, managers = settings.amqp_key_prefix, managers_used(settings)
    queues = [messages.queue_name(m, q, prefix) for m in managers for q in messages.QUEUES]
    return tuple(dict.fromkeys(queues))


def broker_of(settings: PulsarSettings, updates: Updates) -> Broker:
    """The broker of a Pulsar, with the queues of all its managers."""
    assert settings.amqp_url, "a Pulsar over AMQP has an amqp_url"
    prefix, managers = settings.amqp_key_prefix, managers_used(settings)
    listened = [messages.queue_name(m, messages.STATUS_UPDATE, prefix) for m in managers]
    return Broker(
        settings.name,
        settings.amqp_url,
        queues_of(settings),
        dict.fromkeys(listened),
        updates.take,
        updates.stir,
    )


def _is_over(status: Status) -> bool:
    """Whether nothing of an ended job can still run: it has a result, or never began."""
    report = status.report()
    has_result = report is not None and report.result is not None
    return status.state in wire.FINAL and (has_result or status.wrote(CLAIM_FILE) is False)
