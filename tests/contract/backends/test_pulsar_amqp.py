"""A Pulsar over AMQP alone: what it says of a job, and what is true nevertheless."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import aio_pika
import pytest
from pydantic import SecretStr

from tesp.backends import Ended
from tesp.backends.pulsar import messages
from tesp.backends.pulsar.amqp_backend import AmqpPulsar
from tesp.backends.pulsar.wire import Name
from tesp.errors import BackendRefused, BackendUnavailable
from tesp.runner.plan import FINISHED, Executor, Fetch, Output, Plan
from tests.contract.backends.amqp_harness import AmqpHarness
from tests.contract.backends.harness import ROOT, SANDBOX, Attempt, processes_of
from tests.peers.files_server import FilesServer
from tests.peers.gate import Gate
from tests.peers.pulsar_amqp import AmqpPulsarServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import LONG_SECONDS, Room, free_port, wait_until

SILENCE_SECONDS = 4.0


@pytest.fixture(scope="module")
def mortal_pulsar(rabbitmq: RabbitmqServer) -> Iterator[AmqpPulsarServer]:
    """A Pulsar that may be killed."""
    with Room.temporary() as room:
        yield AmqpPulsarServer.over(room, rabbitmq)


@pytest.fixture
def own_pulsar(mortal_pulsar: AmqpPulsarServer) -> AmqpPulsarServer:
    """The same, which is up."""
    if not mortal_pulsar.broker.consumers(mortal_pulsar.setup_queue):
        mortal_pulsar.started()
    return mortal_pulsar


@pytest.fixture
async def own(own_pulsar: AmqpPulsarServer, files_server: FilesServer) -> AsyncIterator[Attempt]:
    """An attempt on it."""
    harness = AmqpHarness(own_pulsar, files_server, SANDBOX)
    backend = harness.opened()
    yield Attempt(harness, backend)
    await backend.close()


@pytest.fixture
async def hasty(own_pulsar: AmqpPulsarServer, files_server: FilesServer) -> AsyncIterator[Attempt]:
    """The same; what is silent for SILENCE_SECONDS is dead."""
    harness = AmqpHarness(own_pulsar, files_server, SANDBOX)
    backend = harness.opened(SILENCE_SECONDS)
    yield Attempt(harness, backend)
    await backend.close()


@pytest.fixture
async def attempt(
    amqp_pulsar: AmqpPulsarServer, files_server: FilesServer
) -> AsyncIterator[Attempt]:
    """An attempt on the Pulsar of all tests."""
    harness = AmqpHarness(amqp_pulsar, files_server, SANDBOX)
    backend = harness.opened()
    yield Attempt(harness, backend)
    await backend.close()


async def until(ready: object, what: str) -> None:
    """Wait while the backend goes on."""
    await asyncio.to_thread(wait_until, ready, what)


async def publish(pulsar: AmqpPulsarServer, queue: str, body: bytes, kind: str) -> None:
    """Put anything at all into one of Pulsar's queues."""
    async with await aio_pika.connect(pulsar.broker.url) as connection:
        channel = await connection.channel()
        message = aio_pika.Message(body, content_type=kind)
        await channel.default_exchange.publish(message, f"pulsar_{pulsar.manager}__{queue}")


async def delete(pulsar: AmqpPulsarServer, queue: str) -> None:
    """Delete a queue, whoever uses it."""
    async with await aio_pika.connect(pulsar.broker.url) as connection:
        channel = await connection.channel()
        await channel.queue_delete(f"pulsar_{pulsar.manager}__{queue}")


async def drop(pulsar: AmqpPulsarServer, queue: str) -> None:
    """Lose what waits in a queue."""
    async with await aio_pika.connect(pulsar.broker.url) as connection:
        channel = await connection.channel()
        await (await channel.get_queue(f"pulsar_{pulsar.manager}__{queue}")).purge()


async def held(attempt: Attempt, gate: Gate, path: str = "/ran") -> Plan:
    """Start a job that waits at the gate, and has an output."""
    gate.hold(path)
    await attempt.prepare()
    script = f"{gate.knock(path)}; echo through; echo 1 >/o/out"
    plan = attempt.plan(script, outputs=[Output("/o/out")])
    await attempt.submit(plan)
    return plan


async def is_through(attempt: Attempt, ended: Ended) -> None:
    """It ran to its end, and its output is where it belongs."""
    assert ended.result is not None, ended.reason
    assert ended.result.status == FINISHED
    assert ended.tails["0.stdout"] == b"through\n"
    assert (ended.result.sent, ended.result.send_error) == ([0], None)
    assert await attempt.outputs(ended.result) == {"/o/out": b"1\n"}


async def test_a_job_that_ends_while_pulsar_is_away_is_found_and_its_outputs_are_posted(
    own_pulsar: AmqpPulsarServer, own: Attempt, gate: Gate
) -> None:
    await held(own, gate)
    gate.wait_for("/ran")
    following = asyncio.create_task(own.end())
    await asyncio.to_thread(own_pulsar.kill)
    gate.release("/ran")
    await until((own.harness.place(own.job) / "result.json").exists, "a result")
    await asyncio.to_thread(own_pulsar.started)
    await is_through(own, await following)
    assert gate.arrived("/ran") == 1


async def test_a_job_that_outlives_pulsar_is_followed_to_its_end_by_another(
    own_pulsar: AmqpPulsarServer, own: Attempt, gate: Gate
) -> None:
    await held(own, gate)
    gate.wait_for("/ran")
    await own.backend.close()
    await asyncio.to_thread(own_pulsar.kill)
    await asyncio.to_thread(own_pulsar.started)
    other = own.harness.opened()
    following = asyncio.create_task(own.end(other))
    gate.release("/ran")
    await is_through(own, await following)
    await other.clean(own.job)
    await other.close()
    assert gate.arrived("/ran") == 1


async def test_a_job_that_died_while_pulsar_was_away_is_seen_to_be_dead(
    own_pulsar: AmqpPulsarServer, hasty: Attempt, gate: Gate
) -> None:
    await held(hasty, gate)
    gate.wait_for("/ran")
    await asyncio.to_thread(own_pulsar.kill)
    kill_job(hasty)
    await asyncio.to_thread(own_pulsar.started)
    ended = await hasty.end()
    assert (ended.result, ended.started) == (None, True)
    assert "no sign of life" in ended.reason
    await hasty.backend.clean(hasty.job)
    assert not hasty.remains()


async def test_a_job_that_pulsar_was_killed_over_is_told_as_forgotten_and_never_runs(
    rabbitmq: RabbitmqServer, files_server: FilesServer, gate: Gate
) -> None:
    with Room.temporary() as room:
        pulsar = AmqpPulsarServer.over(room, rabbitmq, beside={"_control": {"type": "unqueued"}})
        set_workers(pulsar, 0)
        await asyncio.to_thread(pulsar.kill)
        await asyncio.to_thread(pulsar.started)
        control = pulsar.manager + "_control"
        harness = AmqpHarness(pulsar, files_server, SANDBOX, control_manager=control)
        backend = harness.opened(SILENCE_SECONDS)
        attempt = await Attempt(harness, backend).start(gate.knock("/ran"))
        following = asyncio.create_task(attempt.end())
        line = harness.directory(attempt.job) / "command_line"
        await until(line.exists, "a job in the queue")
        await asyncio.to_thread(pulsar.kill)
        line.unlink()  # as when it is killed over a job that it has just taken out of its queue
        set_workers(pulsar, 4)
        await asyncio.to_thread(pulsar.started)
        # Whoever asks for it is told that it is queued.
        question = messages.status(Name.at(attempt.job.place))
        await publish(pulsar, "status", question, "application/json")
        ended = await following
        assert (ended.result, ended.started, ended.forgotten) == (None, False, True)
        assert "has lost the job before its start" in ended.reason
        await backend.clean(attempt.job)
        await backend.close()
        assert gate.arrived("/ran") == 0
        assert not attempt.remains()


def set_workers(pulsar: AmqpPulsarServer, number: int) -> None:
    """With its next start it runs so many jobs at once."""
    file = Path(pulsar.directory) / "app.yml"
    app = json.loads(file.read_text())
    app["managers"][pulsar.manager]["num_concurrent_jobs"] = number
    file.write_text(json.dumps(app))


def kill_job(attempt: Attempt) -> None:
    """The whole job goes, as when its node does: script, runner and all."""
    claim = json.loads((attempt.harness.place(attempt.job) / "claim").read_text())
    stat = Path(f"/proc/{claim['pid']}/stat").read_text()
    parent = int(stat.rpartition(")")[2].split()[1])
    for process in (parent, claim["pid"]):
        os.kill(process, signal.SIGKILL)


async def test_a_job_that_is_sent_while_pulsar_is_down_runs_once_when_it_is_back(
    own_pulsar: AmqpPulsarServer, own: Attempt, gate: Gate
) -> None:
    await asyncio.to_thread(own_pulsar.kill)
    plan = await held(own, gate)
    await own.submit(plan)
    following = asyncio.create_task(own.end())
    with pytest.raises(BackendUnavailable, match="none takes jobs"):
        await own.backend.check()
    gate.release("/ran")
    await asyncio.to_thread(own_pulsar.started)
    await is_through(own, await following)
    await own.backend.check()
    assert gate.arrived("/ran") == 1


async def test_a_fetch_that_pulsar_was_killed_in_is_done_again(
    own_pulsar: AmqpPulsarServer, own: Attempt, gate: Gate
) -> None:
    gate.hold("/input")
    await own.prepare()
    plan = own.plan(f"{gate.knock('/ran')}; cp /o/in /o/out", outputs=[Output("/o/out")])
    fetches = [Fetch(f"{ROOT}/in", f"{gate.url}/input")]
    plan = plan._replace(directories=[ROOT], fetches=fetches)
    await own.backend.submit(
        own.job, plan._replace(send_url=own.harness.files.send_url(own.handle))
    )
    gate.wait_for("/input")
    await asyncio.to_thread(own_pulsar.kill)
    gate.release("/input")
    await asyncio.to_thread(own_pulsar.started)
    result = await own.result()
    assert await own.outputs(result) == {"/o/out": b"open /input\n"}
    assert gate.arrived("/ran") == 1


async def test_a_post_that_pulsar_was_killed_in_is_done_again(
    own_pulsar: AmqpPulsarServer, own: Attempt, gate: Gate
) -> None:
    files: FilesServer = own.harness.files
    files.held.clear()
    await held(own, gate)
    gate.release("/ran")
    await until(lambda: files.arrived, "a post")
    await asyncio.to_thread(own_pulsar.kill)
    files.held.set()
    following = asyncio.create_task(own.end())
    await asyncio.to_thread(own_pulsar.started)
    await is_through(own, await following)
    assert gate.arrived("/ran") == 1


async def test_a_post_that_failed_once_is_tried_again(attempt: Attempt, gate: Gate) -> None:
    attempt.harness.files.refusals = 1
    await held(attempt, gate)
    gate.release("/ran")
    await is_through(attempt, await attempt.end())


async def test_a_post_that_failed_unheard_is_done_again(
    attempt: Attempt, amqp_pulsar: AmqpPulsarServer, gate: Gate
) -> None:
    attempt.harness.files.refusals = 1
    await held(attempt, gate)
    await attempt.backend.close()
    gate.release("/ran")
    mark = attempt.harness.directory(attempt.job) / "postprocessed"
    await until(mark.exists, "Pulsar's try to post")
    name = f"{amqp_pulsar.manager}-postprocessing-jobs/{attempt.job.place.rpartition('/')[2]}"
    entry = Path(amqp_pulsar.directory) / "persisted" / name
    await until(lambda: not entry.exists(), "Pulsar's word of it")
    await drop(amqp_pulsar, "status_update")
    other = attempt.harness.opened()
    await is_through(attempt, await attempt.end(other))
    await other.clean(attempt.job)
    await other.close()
    assert attempt.harness.files.refusals == 0


async def test_outputs_that_cannot_be_posted_are_told(attempt: Attempt, gate: Gate) -> None:
    attempt.harness.files.refusals = 100
    await held(attempt, gate)
    gate.release("/ran")
    result = await attempt.result()
    assert result.status == FINISHED
    assert result.sent == []
    assert "could not post" in (result.send_error or "")


async def test_an_input_that_cannot_be_fetched_tells_why(attempt: Attempt, gate: Gate) -> None:
    await attempt.prepare()
    plan = attempt.plan(gate.knock("/ran"))
    url = f"{attempt.harness.files.url}/in/missing?key=secret"
    await attempt.backend.submit(attempt.job, plan._replace(fetches=[Fetch(f"{ROOT}/in", url)]))
    ended = await attempt.end()
    assert (ended.result, ended.started) == (None, False)
    assert "404" in ended.reason
    assert "secret" not in ended.reason
    await attempt.backend.clean(attempt.job)
    assert not attempt.remains()
    assert gate.arrived("/ran") == 0


async def test_a_job_whose_inputs_are_on_their_way_is_canceled_and_never_runs(
    attempt: Attempt, gate: Gate
) -> None:
    gate.hold("/input")
    await attempt.prepare()
    fetches = [Fetch(f"{ROOT}/{n}", f"{gate.url}/input") for n in range(3)]
    await attempt.backend.submit(
        attempt.job, attempt.plan(gate.knock("/ran"))._replace(fetches=fetches)
    )
    gate.wait_for("/input")
    await attempt.backend.cancel(attempt.job)
    ended = await attempt.end()
    assert (ended.result, ended.started) == (None, False)
    gate.release("/input")
    await attempt.backend.clean(attempt.job)
    assert not attempt.remains()
    assert (gate.arrived("/input"), gate.arrived("/ran")) == (1, 0)


async def test_a_job_that_someone_kills_has_no_result_and_leaves_nothing(
    attempt: Attempt, gate: Gate, amqp_pulsar: AmqpPulsarServer
) -> None:
    await held(attempt, gate)
    gate.wait_for("/ran")
    body = json.dumps({"job_id": f"{attempt.handle}.1"}).encode()
    await publish(amqp_pulsar, "kill", body, "application/json")
    await until(lambda: not processes_of(attempt.handle), "nothing of the task runs")
    # No update follows a kill.
    other = attempt.harness.opened()
    ended = await attempt.end(other)
    await other.close()
    assert (ended.result, ended.started) == (None, True)
    assert "without a result (cancelled" in ended.reason


async def test_a_job_ends_although_its_messages_came_twice(
    attempt: Attempt, gate: Gate, amqp_pulsar: AmqpPulsarServer
) -> None:
    await held(attempt, gate)
    gate.wait_for("/ran")
    for state in ("running", "running", "lost", "preprocessing", "no such state"):
        body = {"job_id": f"{attempt.handle}.1", "status": state, "complete": "false"}
        await publish(amqp_pulsar, "status_update", json.dumps(body).encode(), "application/json")
    following = asyncio.create_task(attempt.end())
    gate.release("/ran")
    await is_through(attempt, await following)
    assert gate.arrived("/ran") == 1


POISON = (
    b"",
    b"no json",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b"null",
    b"5",
    b'"text"',
    b"[]",
    b"{}",
    b'{"job_id": 5, "status": "running"}',
    b'{"job_id": "JOB", "status": 5}',
    b'{"job_id": "JOB", "status": null}',
    b'{"job_id": "JOB", "status": "complete", "job_stdout": 5}',
    b'{"job_id": "JOB", "status": "complete", "job_stdout": ["x"]}',
    b'{"job_id": "JOB", "status": "lost", "job_directory_contents": [{}]}',
    b'{"job_id": "JOB", "status": "complete", "metadata_directory_contents": 5}',
    b'{"job_id": "nobody knows", "status": "complete"}',
)


async def test_poison_among_the_updates_is_dropped(
    attempt: Attempt, gate: Gate, amqp_pulsar: AmqpPulsarServer
) -> None:
    await attempt.backend.check()
    await held(attempt, gate)
    gate.wait_for("/ran")
    following = asyncio.create_task(attempt.end())
    for body in POISON:
        body = body.replace(b"JOB", f"{attempt.handle}.1".encode())
        for kind in ("application/json", "application/octet-stream", ""):
            await publish(amqp_pulsar, "status_update", body, kind)
    gate.release("/ran")
    await is_through(attempt, await following)


async def test_nothing_that_a_task_says_ends_pulsars_listening(
    attempt: Attempt, gate: Gate
) -> None:
    hostile = ["printf", "%s", "é\U0001f600\x7f\u2028", '"}]\\', "\ud800", "$(exit)", "'; exit 1 #"]
    await attempt.prepare()
    await attempt.submit(attempt.plan()._replace(executors=[Executor("none\n'", hostile)]))
    await attempt.end()
    await attempt.backend.clean(attempt.job)
    after = Attempt(attempt.harness, attempt.backend)
    await held(after, gate)
    gate.release("/ran")
    await is_through(after, await after.end())


async def test_a_queue_that_was_deleted_is_noticed_and_made_again(
    own_pulsar: AmqpPulsarServer, own: Attempt, gate: Gate
) -> None:
    await own.backend.check()
    await delete(own_pulsar, "setup")
    await own.prepare()
    plan = own.plan(gate.knock("/ran"))
    with pytest.raises(BackendUnavailable, match="has no queue"):
        await own.backend.submit(own.job, plan)
    # Pulsar listens again when it is started again.
    await asyncio.to_thread(own_pulsar.stop)
    await asyncio.to_thread(own_pulsar.started)
    await own.submit(plan)
    assert (await own.result()).status == FINISHED
    assert gate.arrived("/ran") == 1


async def test_it_listens_again_where_that_was_ended(
    own_pulsar: AmqpPulsarServer, own: Attempt, gate: Gate
) -> None:
    await own.backend.check()
    await delete(own_pulsar, "status_update")
    await own.backend.check()
    await held(own, gate)
    gate.release("/ran")
    await is_through(own, await own.end())


async def test_a_pulsar_that_hangs_is_noticed_although_the_broker_believes_in_it(
    own_pulsar: AmqpPulsarServer, hasty: Attempt
) -> None:
    await answers(hasty)
    with own_pulsar.frozen(), pytest.raises(BackendUnavailable, match="no answer"):
        async with asyncio.timeout(60):
            while True:
                await hasty.backend.check()
                await asyncio.sleep(0.1)
    await answers(hasty)


async def answers(attempt: Attempt) -> None:
    """Check until all is well."""
    async with asyncio.timeout(LONG_SECONDS):
        while True:
            with suppress(BackendUnavailable):
                return await attempt.backend.check()
            await asyncio.sleep(0.1)


async def test_who_comes_last_hears_all_and_it_is_told_that_there_are_two(
    own: Attempt, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    await held(own, gate)
    gate.wait_for("/ran")
    other = own.harness.opened()
    await other.check()
    assert "others take updates" in caplog.text
    following = asyncio.create_task(own.end(other))
    gate.release("/ran")
    await is_through(own, await following)
    await other.close()


async def test_what_is_closed_opens_with_the_next_check(attempt: Attempt, gate: Gate) -> None:
    await held(attempt, gate)
    gate.wait_for("/ran")
    await attempt.backend.close()
    await attempt.backend.check()
    gate.release("/ran")
    await is_through(attempt, await attempt.end())


async def test_a_broker_that_refuses_or_is_not_there_is_told(
    amqp_pulsar: AmqpPulsarServer, files_server: FilesServer
) -> None:
    harness = AmqpHarness(amqp_pulsar, files_server, SANDBOX)
    port = str(amqp_pulsar.broker.port)
    wrong = amqp_pulsar.broker.url.replace("guest:guest", "guest:a-wrong-password")
    for url, kind, words in (
        (wrong, BackendRefused, "password"),
        (amqp_pulsar.broker.url + "nowhere", BackendUnavailable, "virtual host"),
        (amqp_pulsar.broker.url.replace(port, str(free_port())), BackendUnavailable, "refused"),
    ):
        settings = harness.settings.model_copy(update={"amqp_url": SecretStr(url)})
        backend = AmqpPulsar(settings, SANDBOX)
        with pytest.raises(kind, match=words) as raised:
            await backend.check()
        assert "a-wrong-password" not in str(raised.value)
        await backend.close()


async def test_a_directory_that_cannot_be_removed_at_once_is_removed_a_while_later(
    attempt: Attempt,
) -> None:
    await attempt.prepare()
    await attempt.submit(attempt.plan("sleep 600"))
    await until(attempt.remains, "its directory is there")
    with attempt.held_open():
        await attempt.backend.clean(attempt.job)
    assert not attempt.remains()


async def test_jobs_that_ended_are_removed_together(
    own_pulsar: AmqpPulsarServer, own: Attempt
) -> None:
    attempts = [Attempt(own.harness, own.backend) for _ in range(8)]
    await asyncio.gather(*(one.start("true") for one in attempts))
    await asyncio.gather(*(one.end() for one in attempts))
    before = set(own_pulsar.jobs())
    await asyncio.gather(*(one.backend.clean(one.job) for one in attempts))
    await until(lambda: not any(one.remains() for one in attempts), "nothing is left")
    assert len(set(own_pulsar.jobs()) - before) <= 1


async def test_what_waits_to_be_removed_is_removed_although_we_close(
    own_pulsar: AmqpPulsarServer, own: Attempt
) -> None:
    await own.start("true")
    await own.end()
    await own.backend.clean(own.job)
    await own.backend.close()
    await until(lambda: not own.remains(), "nothing is left")


async def test_the_node_fetches_and_sends_by_itself(
    amqp_pulsar: AmqpPulsarServer, files_server: FilesServer, gate: Gate
) -> None:
    harness = AmqpHarness(amqp_pulsar, files_server, SANDBOX, staging="node")
    backend = harness.opened()
    attempt = Attempt(harness, backend)
    await attempt.prepare()
    plan = attempt.plan("cp /o/in /o/out; echo through", outputs=[Output("/o/out")])
    await attempt.submit(plan, {f"{ROOT}/in": b"1\n"})
    await is_through(attempt, await attempt.end())
    await backend.close()


async def test_a_broker_that_restarts_loses_nothing(
    own_rabbitmq: RabbitmqServer, files_server: FilesServer, gate: Gate
) -> None:
    with Room.temporary() as room:
        pulsar = AmqpPulsarServer.over(room, own_rabbitmq)
        harness = AmqpHarness(pulsar, files_server, SANDBOX)
        backend = harness.opened()
        ends, waits = Attempt(harness, backend), Attempt(harness, backend)
        await held(ends, gate)
        gate.wait_for("/ran")
        following = asyncio.create_task(ends.end())
        # One job ends while the broker is away; of another, the message is all that there is.
        await asyncio.to_thread(pulsar.stop)
        await held(waits, gate, "/ran-too")
        await asyncio.to_thread(own_rabbitmq.kill)
        with pytest.raises(BackendUnavailable):
            await backend.check()
        await asyncio.to_thread(own_rabbitmq.start)
        await asyncio.to_thread(pulsar.started)
        also = asyncio.create_task(waits.end())
        gate.wait_for("/ran-too")
        await asyncio.to_thread(own_rabbitmq.stop)
        gate.release("/ran")
        gate.release("/ran-too")
        for one in (ends, waits):
            await until((harness.place(one.job) / "result.json").exists, "a result")
        await asyncio.to_thread(own_rabbitmq.start)
        await is_through(ends, await following)
        await is_through(waits, await also)
        assert (gate.arrived("/ran"), gate.arrived("/ran-too")) == (1, 1)
        await backend.close()
