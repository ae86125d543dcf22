"""Whose turn it is, and what still fits."""

from tesp.backends import Capacity
from tesp.dispatch.capacity import PATIENCE, Ledger, Turns
from tesp.store import Candidate, Needs

ROOMY = Capacity(slots=100, cpus=100, ram_bytes=10**12)


def candidates(**owners: int) -> list[Candidate]:
    return [
        Candidate(f"{owner}{n:03}", owner, Needs(cpus=1))
        for owner, count in owners.items()
        for n in range(count)
    ]


def serve_all(turns: Turns, due: list[Candidate], ledger: Ledger) -> list[str]:
    served = []
    while chosen := turns.next(due, ledger):
        turns.serve(chosen, due)
        due.remove(chosen)
        ledger.take(chosen.task_id, chosen.needs)
        served.append(chosen.task_id)
    return served


def test_owners_take_turns_and_each_starts_with_the_oldest() -> None:
    served = serve_all(Turns(), candidates(a=3, b=1, c=2), Ledger(ROOMY))
    assert served == ["a000", "b000", "c000", "a001", "c001", "a002"]


def test_slots_bound_the_tasks_at_once() -> None:
    ledger = Ledger(Capacity(slots=2, cpus=100, ram_bytes=10**12))
    assert len(serve_all(Turns(), candidates(a=5), ledger)) == 2
    ledger.give("a000")
    assert ledger.free_slots == 1


def test_cpus_and_memory_bound_the_tasks_at_once() -> None:
    ledger = Ledger(Capacity(slots=10, cpus=2, ram_bytes=10))
    assert ledger.fits(Needs(cpus=2, ram_bytes=10))
    ledger.take("x", Needs(cpus=1, ram_bytes=4))
    assert not ledger.fits(Needs(cpus=2))
    assert not ledger.fits(Needs(ram_bytes=7))
    assert ledger.fits(Needs(cpus=1, ram_bytes=6))


def test_a_large_task_holds_its_owner_s_younger_ones_back() -> None:
    ledger = Ledger(Capacity(slots=10, cpus=2, ram_bytes=10))
    ledger.take("x", Needs(cpus=1))
    due = [Candidate("a1", "a", Needs(cpus=2)), Candidate("a2", "a", Needs(cpus=1))]
    assert Turns().next(due, ledger) is None


def test_others_pass_a_large_task_only_so_often() -> None:
    ledger = Ledger(Capacity(slots=100, cpus=2, ram_bytes=10))
    ledger.take("x", Needs(cpus=1))
    turns = Turns()
    big = Candidate("a1", "a", Needs(cpus=2))
    passed = 0
    for n in range(PATIENCE + 5):
        due = [big, Candidate(f"b{n:03}", "b", Needs(cpus=1))]
        chosen = turns.next(due, ledger)
        if chosen is None:
            break
        turns.serve(chosen, due)
        passed += 1
    assert passed == PATIENCE
    ledger.give("x")
    assert turns.next(due, ledger) == big
