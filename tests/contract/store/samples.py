"""Tasks for the suite, and the ways to bring one into a state."""

from dataclasses import replace
from typing import Any

from tesp.store import Change, Claim, NewTask, Store, TaskQuery
from tesp.tes.identifiers import new_task_id
from tesp.tes.states import State, Transition
from tesp.tes.views import TaskText, Text, View

BODY = Text('"executors":[{"image":"alpine","command":["true"]}]')
LOGS = Text('[{"logs":[{"exit_code":0,"stdout":"hello"}]}]', '[{"logs":[{"exit_code":0}]}]')

LONG = 60.0  # seconds: a lease that does not run out in a test
GONE = 0.01  # seconds: one that does


def a_task(owner: str = "ann", **fields: Any) -> NewTask:
    """A task with an id of its own."""
    return NewTask(**{"id": new_task_id(), "owner": owner, "body": BODY, **fields})


def ids_in_order(count: int) -> list[str]:
    """Fresh ids, oldest first: those of one millisecond are in no order of their own."""
    return sorted(new_task_id() for _ in range(count))


async def stored(store: Store, owner: str = "ann", **fields: Any) -> str:
    """The id of a task that has been created."""
    return await store.create(a_task(owner, **fields))


async def claimed(store: Store, seconds: float = LONG, **fields: Any) -> Claim:
    """A task that has been created and claimed."""
    task_id = await stored(store, **fields)
    claim = await store.claim(task_id, "local", "me", seconds)
    assert claim is not None
    return claim


async def running(store: Store, seconds: float = LONG, **fields: Any) -> Claim:
    """A task that is RUNNING."""
    claim = await claimed(store, seconds, **fields)
    written = await store.write(claim.fence, Change(Transition.START))
    assert written.applied
    return claim


async def brought_to(store: Store, state: State) -> str:
    """A task in `state`."""
    if state is State.QUEUED:
        return await stored(store)
    claim = await claimed(store)
    task_id = claim.fence.task_id
    if state in (State.CANCELING, State.CANCELED):
        await store.cancel(task_id)
    elif state is not State.INITIALIZING:
        await store.write(claim.fence, Change(Transition.START))
    if state in _LAST:
        await store.write(claim.fence, Change(_LAST[state], logs=LOGS))
    assert await state_of(store, task_id) is state
    return task_id


_LAST = {
    State.COMPLETE: Transition.COMPLETE,
    State.EXECUTOR_ERROR: Transition.EXECUTOR_FAILED,
    State.SYSTEM_ERROR: Transition.SYSTEM_FAILED,
    State.PREEMPTED: Transition.PREEMPT,
    State.CANCELED: Transition.END_CANCEL,
}


async def full(store: Store, task_id: str) -> TaskText:
    """A task in FULL that must be there."""
    task = await store.get(task_id, View.FULL)
    assert task is not None
    return task


async def state_of(store: Store, task_id: str) -> State:
    """The state of a task that must be there."""
    return (await full(store, task_id)).state


async def due(store: Store, per_owner: int = 1000, owners: int = 1000) -> list[str]:
    """The ids of what is queued and due."""
    return [c.task_id for c in await store.queued(per_owner, owners)]


async def all_pages(store: Store, query: TaskQuery) -> list[str]:
    """The ids of all pages, one after another."""
    ids: list[str] = []
    while True:
        page = await store.page(query)
        assert len(page.tasks) <= query.size
        ids.extend(task.id for task in page.tasks)
        if page.next is None:
            return ids
        query = replace(query, after=page.next)
