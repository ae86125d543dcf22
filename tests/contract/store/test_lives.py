"""Whole lives of a task, made up at random, against a model drawn from the table alone."""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tesp.store import Cancel, Change, Fence, Store, TaskQuery
from tesp.tes.models import TaskLog
from tesp.tes.states import INITIAL, TERMINAL, State, Transition, target
from tesp.tes.views import attempts_of, logs_text
from tests.contract.store.samples import LONG, all_pages, due, full, stored

STEPS = st.one_of(
    st.sampled_from(["claim", "cancel", "expire", "adopt", "renew"]),
    st.tuples(st.sampled_from(Transition), st.booleans()),
)


@dataclass
class Model:
    """What must be true of one task."""

    task_id: str
    state: State = INITIAL
    number: int = 1
    logs: str = ""
    fences: list[Fence] = field(default_factory=list)
    leased: bool = False
    expired: bool = False
    events: list[tuple[State, int]] = field(default_factory=lambda: [(INITIAL, 1)])

    def move(self, to: State, transition: Transition) -> None:
        """Follow a transition."""
        self.state, self.number = to, self.number + (transition is Transition.RETRY)
        self.leased = (self.leased or transition is Transition.CLAIM) and not (
            to is INITIAL or to in TERMINAL
        )
        self.events.append((to, self.number))


async def step(store: Store, model: Model, what: object) -> None:
    """Do one thing, and see that it came out as the model says."""
    match what:
        case "claim":
            await claim(store, model)
        case "cancel":
            await cancel(store, model)
        case "adopt":
            await adopt(store, model)
        case "renew" | "expire":
            await renew(store, model, 0 if what == "expire" else LONG)
        case (Transition() as transition, bool(current)):
            await write(store, model, transition, current)


async def claim(store: Store, model: Model) -> None:
    to = target(model.state, Transition.CLAIM)
    came = await store.claim(model.task_id, "local", "me", LONG)
    assert (came is not None) == (to is not None)
    if came and to:
        model.move(to, Transition.CLAIM)
        model.expired = False
        _take(model, came.fence)
        assert (came.attempt.number, came.logs) == (model.number, model.logs)


def _take(model: Model, fence: Fence) -> None:
    assert all(fence.epoch > old.epoch for old in model.fences)
    model.fences.append(fence)


async def cancel(store: Store, model: Model) -> None:
    to = target(model.state, Transition.CANCEL)
    came = await store.cancel(model.task_id)
    if to:
        model.move(to, Transition.CANCEL)
    assert (came is Cancel.TERMINAL) == (model.state in TERMINAL and not to)
    assert (came is Cancel.ASKED) == (model.state is State.CANCELING)


async def adopt(store: Store, model: Model) -> None:
    came = await store.adopt(["local"], "other", LONG)
    mine = [c for c in came if c.fence.task_id == model.task_id]
    assert len(mine) == (model.leased and model.expired)
    if mine:
        model.expired = False
        _take(model, mine[0].fence)
        assert (mine[0].state, mine[0].attempt.number) == (model.state, model.number)


async def renew(store: Store, model: Model, seconds: float) -> None:
    if model.fences:
        came = await store.renew(model.fences, seconds)
        assert [r.lost for r in came] == [True] * (len(came) - 1) + [not model.leased]
        assert came[-1].canceling == (model.leased and model.state is State.CANCELING)
        model.expired = seconds == 0


async def write(store: Store, model: Model, transition: Transition, current: bool) -> None:
    if not model.fences:
        return
    newest = current or len(model.fences) == 1
    fence = model.fences[-1] if newest else model.fences[0]
    to = target(model.state, transition) if newest and model.leased else None
    # One entry an attempt; this one's tells which write it was.
    entry = TaskLog(system_logs=[str(len(model.events))])
    logs = [*attempts_of(model.logs)[: model.number - 1], entry]
    came = await store.write(fence, Change(transition, logs=logs_text(logs)))
    assert came.applied == (to is not None)
    assert came.lost == (not (newest and model.leased))
    if to:
        model.move(to, transition)
        if transition is Transition.REQUEUE:
            del logs[-1]
        model.logs = logs_text(logs).full if logs else ""
    assert came.state is model.state


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=5, max_size=25))
async def test_every_life_agrees_with_the_table(store: Store, steps: list[object]) -> None:
    model = Model(await stored(store))

    for what in steps:
        await step(store, model, what)

    task = await full(store, model.task_id)
    assert (task.state, task.logs) == (model.state, model.logs)
    history = await store.history(model.task_id)
    assert [(e.state, e.attempt) for e in history] == model.events
    assert [e.number for e in history] == list(range(1, len(history) + 1))
    assert (model.task_id in await due(store)) == (model.state is State.QUEUED)
    found = await all_pages(store, TaskQuery(states=frozenset({model.state}), size=2000))
    assert model.task_id in found
