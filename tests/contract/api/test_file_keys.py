"""The keys of files: good for one path of one attempt."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest

from tesp.staging.keys import Keys
from tesp.store import Change
from tesp.tes.models import Input, Output
from tesp.tes.states import Transition
from tests.contract.api.filing import SMALL, Desk, Job, Peers, detail, post_form


async def every(desk: Desk, job: Job) -> list[int]:
    """The answers to all that a job may ask."""
    answers = [
        await desk.client.get(job.input(0)),
        await desk.client.get(job.input(0, "x")),
        await desk.client.get(job.send(0, len(SMALL))),
        await desk.client.put(job.send(0, len(SMALL)), content=SMALL),
        await post_form(job.post("published/0/15/file"), SMALL),
    ]
    return [a.status_code for a in answers]


async def test_a_key_is_good_for_one_path_of_one_attempt(desk: Desk, peers: Peers) -> None:
    url = peers.make("file", "dir/x", SMALL)
    inputs = [Input(path="/0", url=url), Input(path="/1", url=url)]
    job, other = await desk.job(inputs), await desk.job(inputs)
    key = dict(p.split("=") for p in urlsplit(job.input(0)).query.split("&"))["key"]

    def at(path: str, key: str | None) -> str:
        return f"{desk.url}/files/{path}" + ("" if key is None else f"?key={key}")

    mine = f"{job.task_id}/1/inputs/0"
    wrong = [
        at(mine, None),
        at(mine, ""),
        at(mine, "ü"),
        at(mine, key[:-1]),
        at(mine, key.upper()),
        at(f"{job.task_id}/1/inputs/1", key),
        at(f"{job.task_id}/1/inputs/0", f"{key}&name=x"),
        at(f"{job.task_id}/2/inputs/0", key),
        at(f"{other.task_id}/1/inputs/0", key),
        at("nosuch/1/inputs/0", key),
        at(f"{job.task_id}/1/outputs", f"{key}&output=0&size=1"),
    ]

    assert (await desk.client.get(at(mine, key))).content == SMALL
    for url in wrong:
        answer = await desk.client.get(url)
        assert answer.status_code == 403, url
        assert "key" in detail(answer)


async def test_keys_of_another_store_are_good_for_nothing(desk: Desk, peers: Peers) -> None:
    job = await desk.sending(f"file://{peers.root}/out")
    job.keys = Keys(b"another" * 5, desk.url)

    assert await every(desk, job) == [403] * 5


async def _complete(desk: Desk, job: Job) -> None:
    await desk.store.write(job.claim.fence, Change(Transition.START))
    await desk.store.write(job.claim.fence, Change(Transition.COMPLETE))


async def _cancel(desk: Desk, job: Job) -> None:
    await desk.store.cancel(job.task_id)


async def _requeue(desk: Desk, job: Job) -> None:
    await desk.store.write(job.claim.fence, Change(Transition.REQUEUE))


async def _retry(desk: Desk, job: Job) -> None:
    await desk.store.write(job.claim.fence, Change(Transition.RETRY))
    await desk.store.claim(job.task_id, "pulsar", "me", 60)


@pytest.mark.parametrize("end", [_complete, _cancel, _requeue, _retry])
async def test_the_keys_of_an_attempt_end_with_it(
    desk: Desk, peers: Peers, end: Callable[[Desk, Job], Awaitable[None]]
) -> None:
    peers.make("file", "dir/x", SMALL)
    job = await desk.job(
        [Input(path="/0", url=f"file://{peers.root}/dir")],
        [Output(path="/out/x", url=f"file://{peers.root}/out")],
    )
    before = await every(desk, job)

    await end(desk, job)

    assert before == [404, 200, 200, 201, 201]
    assert await every(desk, job) == [403] * 5
