"""Which backends a task may run on."""

import pytest

from tesp.errors import InvalidTask
from tesp.tes.models import TaskSubmission
from tesp.tes.needs import Needs
from tesp.tes.offers import Offer, Offers, Route, Size, largest
from tesp.tes.rules import BACKEND_PARAMETERS, Limits, admit

GB = 10**9
SMALL = Offer("small", (Size(2, 4 * GB),))
CLASSES = Offer("slurm", (Size(1, 4 * GB), Size(16, 2 * GB)), frozenset({"brno"}))
SPOT = Offer("spot", zones=frozenset({"praha"}), preemptible="only")
STEADY = Offer("steady", preemptible=False, zones=frozenset({"brno"}))


def takers(*offers: Offer, routes: tuple[Route, ...] = (), **needs: object) -> set[str]:
    tags = needs.pop("tags", {})
    return set(Offers(offers, routes).takers(Needs(**needs), tags))  # type: ignore[arg-type]


def test_a_task_must_fit_one_size_whole() -> None:
    assert takers(SMALL, CLASSES, cpus=1, ram_bytes=3 * GB) == {"small", "slurm"}
    assert takers(SMALL, CLASSES, cpus=8, ram_bytes=GB) == {"slurm"}
    assert takers(SMALL, CLASSES, cpus=8, ram_bytes=3 * GB) == set()


def test_zones_count_only_where_a_backend_has_one() -> None:
    assert takers(SMALL, zones=("nowhere",)) == {"small"}
    assert takers(SMALL, CLASSES, zones=("brno",)) == {"slurm"}
    assert takers(SMALL, CLASSES, zones=("nowhere",)) == set()


def test_preemptible_tasks_and_others_are_kept_apart_where_a_backend_asks_for_it() -> None:
    assert takers(SMALL, SPOT, STEADY, preemptible=True) == {"small", "spot"}
    assert takers(SMALL, SPOT, STEADY) == {"small", "steady"}


def test_a_task_can_name_its_pulsar() -> None:
    assert takers(SMALL, CLASSES, parameters={"pulsar": "slurm"}) == {"slurm"}


def test_the_first_rule_for_a_tag_decides() -> None:
    routes = (
        Route("project", "a", frozenset({"small"})),
        Route("project", None, frozenset({"slurm"})),
    )
    assert takers(SMALL, CLASSES, routes=routes, tags={"project": "a"}) == {"small"}
    assert takers(SMALL, CLASSES, routes=routes, tags={"project": "b"}) == {"slurm"}
    assert takers(SMALL, CLASSES, routes=routes, tags={"other": "a"}) == {"small", "slurm"}


def test_the_most_of_each_is_known_unless_a_size_has_no_end() -> None:
    assert largest(CLASSES.sizes) == Size(16, 4 * GB)
    assert largest([*CLASSES.sizes, Size(None, GB)]) == Size(None, 4 * GB)
    assert largest([]) == Size()


@pytest.mark.parametrize(
    ("resources", "tags", "field", "words"),
    [
        (
            {"backend_parameters": {"Pulsar": "nope"}},
            {},
            "resources.backend_parameters.pulsar",
            "there is no 'nope' here; choose one of slurm, small, spot",
        ),
        ({"zones": ["wien"]}, {}, "resources.zones", "choose from brno, praha"),
        ({"cpu_cores": 3, "ram_gb": 3}, {}, "resources", "3 cores, 3 GB"),
        ({"cpu_cores": 16}, {"lane": "x"}, "resources", "of small, where its tags lead"),
    ],
)
def test_a_task_that_no_backend_would_ever_take_is_refused(
    resources: dict[str, object], tags: dict[str, str], field: str, words: str
) -> None:
    offers = Offers((SMALL, CLASSES, SPOT), (Route("lane", None, frozenset({"small"})),))
    executor = {"image": "i", "command": ["true"]}
    task = {"executors": [executor], "resources": resources, "tags": tags}
    limits = Limits(parameters=BACKEND_PARAMETERS | {"pulsar"}, offers=offers)
    with pytest.raises(InvalidTask) as refused:
        admit(TaskSubmission.model_validate(task), limits, lambda url, writing, type: None)
    (problem,) = refused.value.problems
    assert problem.field == field
    assert words in problem.message
