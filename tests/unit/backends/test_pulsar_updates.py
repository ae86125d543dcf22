"""Updates of a Pulsar, brought to those who follow its jobs."""

import asyncio
import json

from tesp.backends.pulsar.updates import Updates


def update(state: str, job_id: str = "j") -> bytes:
    return json.dumps({"job_id": job_id, "status": state}).encode()


async def test_who_follows_a_job_hears_of_it_in_order() -> None:
    updates = Updates("p")
    with updates.follow("j") as news:
        for state in ("queued", "running", "complete"):
            updates.take(update(state))
            updates.take(update("running", "another"))
        heard = [await news.next(0) for _ in range(4)]
    assert [h and h.state for h in heard] == ["queued", "running", "complete", None]


async def test_repetitions_are_one_piece_of_news() -> None:
    updates = Updates("p")
    with updates.follow("j") as news:
        for _ in range(1000):
            updates.take(update("running"))
        assert (await news.next(0)) is not None
        assert (await news.next(0)) is None


async def test_nothing_follows_what_is_final_and_lost_is_not() -> None:
    updates = Updates("p")
    with updates.follow("j") as news:
        for state in ("lost", "running", "complete", "running", "lost"):
            updates.take(update(state))
        heard = [await news.next(0) for _ in range(4)]
    assert [h and h.state for h in heard] == ["lost", "running", "complete", None]


async def test_what_came_before_somebody_followed_is_kept_if_it_was_expected() -> None:
    updates = Updates("p")
    updates.expect("j")
    updates.take(update("complete"))
    updates.take(update("running"))
    updates.take(update("complete", "unknown"))
    with updates.follow("j") as news, updates.follow("unknown") as nothing:
        kept = await news.next(0)
        assert kept is not None
        assert kept.state == "complete"
        assert await nothing.next(0) is None
    updates.forget("j")
    with updates.follow("j") as news:
        assert await news.next(0) is None


async def test_who_waits_is_woken_where_updates_may_have_been_lost() -> None:
    updates = Updates("p")
    updates.expect("j", begins=True)
    assert updates.heard_all("j")
    with updates.follow("j") as news:
        waiting = asyncio.create_task(news.next(3600))
        await asyncio.sleep(0)
        updates.stir()
        assert await waiting is None
        assert not updates.heard_all("j")


async def test_two_who_follow_one_job_both_hear_of_it() -> None:
    updates = Updates("p")
    with updates.follow("j") as one, updates.follow("j") as other:
        updates.take(update("running"))
        assert (await one.next(0)) == (await other.next(0)) is not None
