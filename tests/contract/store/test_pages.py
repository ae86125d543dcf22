"""What pages promise: the right tasks, in order, each once."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tesp.store import NewTask, Store, TaskQuery
from tesp.tes.states import State
from tesp.tes.views import View
from tests.contract.store.samples import (
    a_task,
    all_pages,
    brought_to,
    due,
    ids_in_order,
    running,
    stored,
)


async def created(store: Store, tasks: Sequence[NewTask]) -> None:
    await asyncio.gather(*(store.create(task) for task in tasks))


async def test_an_empty_store_has_one_empty_page(store: Store) -> None:
    page = await store.page(TaskQuery())

    assert (list(page.tasks), page.next) == ([], None)


@pytest.mark.parametrize("size", [1, 3, 6, 7, 8])
async def test_pages_of_every_size_hold_all_tasks_newest_first(store: Store, size: int) -> None:
    ids = ids_in_order(7)
    await created(store, [a_task(id=i) for i in random.Random(1).sample(ids, 7)])

    assert await all_pages(store, TaskQuery(size=size)) == ids[::-1]


@pytest.mark.parametrize("tags", [(), (("k", "v"),), (("k", None),)])
@pytest.mark.parametrize("owner", [None, "ann"])
async def test_a_full_last_page_has_no_next(
    store: Store, tags: tuple[tuple[str, str | None], ...], owner: str | None
) -> None:
    await created(store, [a_task(tags={"k": "v"}) for _ in range(4)])
    query = TaskQuery(size=2, tags=tags, owner=owner)

    first = await store.page(query)
    assert len(first.tasks) == 2
    assert first.next is not None
    second = await store.page(replace(query, after=first.next))

    assert (len(second.tasks), second.next) == (2, None)


@pytest.mark.parametrize("view", list(View))
async def test_a_task_in_a_page_is_what_get_gives(store: Store, view: View) -> None:
    for state in (State.QUEUED, State.COMPLETE, State.CANCELED):
        await brought_to(store, state)
    claim = await running(store)
    await store.tail(claim.fence, {"executor.0.stdout": "so far"})

    page = await store.page(TaskQuery(view=view))

    assert len(page.tasks) == 4
    for task in page.tasks:
        assert task == await store.get(task.id, view)


async def test_tasks_added_between_pages_show_on_no_later_page(store: Store) -> None:
    ids = ids_in_order(30)
    await created(store, [a_task(id=i, tags={"k": "v"}, name="n") for i in ids[:10]])
    for query in (TaskQuery(), TaskQuery(tags=(("k", "v"),)), TaskQuery(name_prefix="n")):
        page = await store.page(replace(query, size=4))
        assert page.next is not None
        seen = [t.id for t in page.tasks]
        late = a_task(tags={"k": "v"}, name="n")
        await store.create(late)

        rest = await all_pages(store, replace(query, size=4, after=page.next))

        assert late.id not in rest
        assert [i for i in seen + rest if i in ids] == ids[:10][::-1]


async def test_pages_stay_right_while_many_tasks_are_added(store: Store) -> None:
    ids = ids_in_order(60)
    await created(store, [a_task(id=i, tags={"k": "v"}) for i in ids])

    async def add() -> None:
        for _ in range(60):
            await stored(store, tags={"k": "v"})

    adding = asyncio.create_task(add())
    pages = [await all_pages(store, TaskQuery(size=7, tags=(("k", "v"),))) for _ in range(5)]
    await adding

    for seen in pages:
        assert len(seen) == len(set(seen))
        assert seen == sorted(seen, reverse=True)
        assert [i for i in seen if i in ids] == ids[::-1]


async def test_pages_of_a_state_hold_every_task_in_it(store: Store) -> None:
    made = {state: await brought_to(store, state) for state in list(State) if state in _REACHED}

    for state, task_id in made.items():
        assert await all_pages(store, TaskQuery(states=frozenset({state}))) == [task_id]
    assert await all_pages(store, TaskQuery(states=frozenset({State.UNKNOWN}))) == []


_REACHED = frozenset(State) - {State.UNKNOWN, State.PAUSED}


async def test_pages_of_several_states_are_merged_in_order(store: Store) -> None:
    made = []
    for state in [State.RUNNING, State.QUEUED, State.CANCELING, State.COMPLETE] * 3:
        made.append((await brought_to(store, state), state))
    wanted = frozenset({State.RUNNING, State.CANCELING, State.PREEMPTED})

    seen = await all_pages(store, TaskQuery(states=wanted, size=2))

    assert seen == sorted((i for i, s in made if s in wanted), reverse=True)


async def test_no_states_match_no_task(store: Store) -> None:
    await stored(store)

    page = await store.page(TaskQuery(states=frozenset()))

    assert (list(page.tasks), page.next) == ([], None)


async def test_every_tag_must_match(store: Store) -> None:
    both = await stored(store, tags={"a": "1", "b": "2"})
    one = await stored(store, tags={"a": "1"})
    empty = await stored(store, tags={"a": ""})
    await stored(store, tags={"b": "1"})

    async def found(*tags: tuple[str, str | None]) -> set[str]:
        return set(await all_pages(store, TaskQuery(tags=tags)))

    assert await found(("a", "1")) == {both, one}
    assert await found(("a", None)) == {both, one, empty}
    assert await found(("a", "")) == {empty}
    assert await found(("a", "1"), ("b", "2")) == {both}
    assert await found(("a", "1"), ("b", None)) == {both}
    assert await found(("a", "1"), ("a", None)) == {both, one}
    assert await found(("a", "1"), ("a", "2")) == set()
    assert await found(("A", "1")) == set()


NAMES = ["a%b", "a%", "axb", "a_b", "a*b", "A%b", "aab", "é", "e\u0301", "éa", "a\U0010ffffz", "a"]


@pytest.mark.parametrize(
    "prefix",
    ["a", "a%", "a_", "a*", "A", "ax", "é", "e", "a\U0010ffff", "\U0010ffff", "(a|b)", "^a", ".*"],
    ids=ascii,
)
async def test_a_name_prefix_is_literal(store: Store, prefix: str) -> None:
    tasks = [a_task(name=name) for name in NAMES]
    await created(store, [*tasks, a_task(name=None), a_task(name="")])

    seen = await all_pages(store, TaskQuery(name_prefix=prefix, size=2))

    wanted = [t.id for t in tasks if t.name is not None and t.name.startswith(prefix)]
    assert seen == sorted(wanted, reverse=True)


async def test_an_empty_name_prefix_is_no_filter(store: Store) -> None:
    ids = {await stored(store, name=None), await stored(store, name="n")}

    assert set(await all_pages(store, TaskQuery(name_prefix=""))) == ids


async def test_an_owner_sees_his_own_tasks_alone(store: Store) -> None:
    mine = [await stored(store, "ann", tags={"k": "v"}, name="n") for _ in range(3)]
    await stored(store, "bob", tags={"k": "v"}, name="n")

    for query in (
        TaskQuery(),
        TaskQuery(tags=(("k", "v"),)),
        TaskQuery(name_prefix="n"),
        TaskQuery(states=frozenset({State.QUEUED, State.RUNNING})),
    ):
        assert set(await all_pages(store, replace(query, owner="ann"))) == set(mine)
        assert len(await all_pages(store, query)) == 4
        assert await all_pages(store, replace(query, owner="nobody")) == []


async def test_all_filters_together_agree_with_a_plain_search(store: Store) -> None:
    chance = random.Random(7)
    tasks = [
        a_task(
            chance.choice(["ann", "bob"]),
            id=i,
            name=chance.choice([None, "alpha", "alps", "beta"]),
            tags={k: chance.choice("xy") for k in chance.sample("abc", chance.randint(0, 3))},
        )
        for i in ids_in_order(150)
    ]
    await created(store, tasks)
    ended = {t.id for t in chance.sample(tasks, 50)}
    await asyncio.gather(*(store.cancel(i) for i in ended))

    for _ in range(60):
        query = TaskQuery(
            size=chance.choice([7, 40, 200]),
            owner=chance.choice([None, "ann", "bob"]),
            states=chance.choice([None, frozenset({State.CANCELED}), frozenset(State)]),
            name_prefix=chance.choice([None, "al", "alpha", "zeta"]),
            tags=tuple((k, chance.choice([None, "x", "y"])) for k in chance.sample("abc", 2)),
        )
        if chance.random() < 0.5:
            query = replace(query, tags=query.tags[:1])
        wanted = [t.id for t in tasks if _matches(t, t.id in ended, query)]
        assert await all_pages(store, query) == wanted[::-1], query


def _matches(task: NewTask, ended: bool, query: TaskQuery) -> bool:
    state = State.CANCELED if ended else State.QUEUED
    return (
        query.owner in (None, task.owner)
        and (query.states is None or state in query.states)
        and (query.name_prefix is None or (task.name or "").startswith(query.name_prefix))
        and all(k in task.tags and v in (None, task.tags[k]) for k, v in query.tags)
    )


async def test_a_task_that_ends_between_pages_is_not_shown_twice(store: Store) -> None:
    ids = ids_in_order(6)
    await created(store, [a_task(id=i) for i in ids])
    first = await store.page(TaskQuery(size=3))

    for task_id in await due(store):
        await store.cancel(task_id)
    rest = await all_pages(store, TaskQuery(size=3, after=first.next))

    assert [t.id for t in first.tasks] + rest == ids[::-1]
