"""A limit is crossed once, and is over only when the node is clearly within it again."""

from collections.abc import Mapping

import pytest

from tesp.agents.metrics.alarms import SILENT, crossings
from tesp.agents.metrics.hearing import Hearing
from tesp.agents.metrics.samples import LISTENING, sample
from tesp.bus import Message
from tesp.errors import MessageRefused
from tesp.settings import LimitSettings

LIMITS = LimitSettings(cpu_percent=95, load_per_cpu=2, disk_percent=90)


@pytest.mark.parametrize(
    ("values", "raised", "changes"),
    [
        ({"cpu_percent": 94.9}, (), []),
        ({"cpu_percent": 95}, (), [("cpu_percent", False)]),
        ({"cpu_percent": 99}, ("cpu_percent",), []),
        ({"cpu_percent": 91}, ("cpu_percent",), []),
        ({"cpu_percent": 90}, ("cpu_percent",), [("cpu_percent", True)]),
        ({"memory_percent": 100}, (), []),
        ({"load_5": 8, "cpus": 4}, (), [("load_per_cpu", False)]),
        ({"load_5": 7.9, "cpus": 4}, (), []),
        ({"load_5": 2, "cpus": 0}, (), [("load_per_cpu", False)]),
        (
            {"disk_percent:/a": 95, "disk_percent:/b": 91},
            ("disk_percent:/a",),
            [("disk_percent:/b", False)],
        ),
        ({}, ("disk_percent:/a", SILENT), [("disk_percent:/a", True)]),
    ],
)
def test_what_a_sample_changes(
    values: Mapping[str, float], raised: tuple[str, ...], changes: list[tuple[str, bool]]
) -> None:
    assert [(one.what, one.is_over) for one in crossings(LIMITS, values, raised)] == changes


def said(topic: str = "p/infrastructure/metrics/n1/status", **payload: object) -> Message:
    return Message(topic, {"status": "measured", **payload}, "id", 100.0, "c")  # type: ignore[dict-item]


def test_a_sample_holds_numbers_alone_and_is_its_topics_host() -> None:
    told = said(host="other", cpus=4, load_5=0.5, ts=100, big=10**308, flag=True, text="x")
    found = sample(told, 50.0)
    assert dict(found.values) == {"cpus": 4.0, "load_5": 0.5}
    assert (found.host, found.time) == ("n1", 50.0)


@pytest.mark.parametrize("payload", [{"status": None}, {f"v{n}": n for n in range(201)}])
def test_what_is_no_sample_is_refused(payload: dict[str, object]) -> None:
    with pytest.raises(MessageRefused):
        sample(said(**payload), 100.0)


def test_who_cannot_hear_himself_judges_nobody() -> None:
    hearing, other = Hearing("p", "c", 1.0), Hearing("p", "c", 1.0)
    assert not hearing.has_heard(0.0, 0.0)
    assert hearing.is_beat(other.beat(), 10.0)
    assert not hearing.has_heard(10.0, 0.0)
    for moment in (10.0, 10.9, 11.8, 12.7):
        assert hearing.is_beat(hearing.beat(), moment)
    assert hearing.has_heard(12.8, 2.0)
    assert not hearing.has_heard(13.8, 2.0)
    assert hearing.is_beat(hearing.beat(), 20.0)
    assert not hearing.has_heard(20.0, 2.0)
    assert hearing.beat().payload["status"] == LISTENING
    assert not hearing.is_beat(said(), 20.0)
