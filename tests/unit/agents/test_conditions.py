"""Which messages a trigger waits for."""

from typing import Any

import pytest

from tesp.agents.conditions import Conditions
from tesp.errors import SettingsError
from tesp.settings import TriggerSettings, parse


def settings(**keys: Any) -> TriggerSettings:
    keys = {"name": "t", "topic": "a/+", "command": ["true"], **keys}
    return parse({"triggers": [keys]}).triggers[0]


def holds(wanted: object, **payload: Any) -> bool:
    return Conditions(settings(when={"x": wanted}).when).hold(payload)


@pytest.mark.parametrize(
    ("wanted", "fitting", "others"),
    [
        ("a", ["a"], ["A", "ab", "", 1]),
        (0, [0, 0.0, "0"], [1, False, "", "00"]),
        (True, [True, "true"], [1, "True", "yes"]),
        ({"equals": 2}, [2, 2.0, "2"], [3]),
        ({"differs": "test"}, ["prod", 1, ""], ["test"]),
        ({"one_of": ["grb", 7]}, ["grb", 7, "7"], ["gr", 8, True]),
        ({"below": 18.5}, [18.4, "18.4", -1, "-1e3"], [18.5, "18.5", True, "", "x", "nan"]),
        ({"at_most": 2}, [2, "2"], [2.1]),
        ({"above": 2}, [2.1, "3"], [10**400, 2, "inf", "0x10", "1_0"]),
        ({"at_least": 2, "below": 3}, [2, 2.9], [3, 1]),
        ({"matches": "^GRB [0-9]+"}, ["GRB 12"], ["a GRB 12", "GRB", 12]),
        ({"matches": "1$"}, ["21", 21], ["12"]),
    ],
)
def test_a_condition_fits_what_it_says(
    wanted: object, fitting: list[object], others: list[object]
) -> None:
    assert [value for value in fitting if not holds(wanted, x=value)] == []
    assert [value for value in others if holds(wanted, x=value)] == []
    assert not holds(wanted)
    assert not holds(wanted, x=None)


def test_all_conditions_must_hold_and_none_are_always_true() -> None:
    both = Conditions({"a": 1, "b": 2})
    assert both.hold({"a": 1, "b": 2, "c": 3})
    assert not both.hold({"a": 1, "b": 3})
    assert Conditions({}).hold({})


def test_a_pattern_takes_no_more_time_than_its_text_is_long() -> None:
    # Half a million signs that a backtracking engine would never be done with.
    assert not holds({"matches": "^(a+)+$"}, x="a" * 400_000 + "b")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"when": {"x": {"matches": "("}}}, "no pattern that can be used here: unclosed group"),
        ({"when": {"x": {"matches": "(?=a)"}}}, "look-around"),
        ({"when": {"x": {"is": 1}}}, "triggers.0.when"),
        ({"topic": "a/#/b"}, "triggers.0.topic"),
        ({"topic": "a+"}, "triggers.0.topic"),
        ({"name": "a b"}, "triggers.0.name"),
        ({"task": {"executors": []}}, "one of task, task_file and command"),
        ({"command": None}, "one of task, task_file and command"),
        ({"command": []}, "triggers.0.command"),
        ({"command": ["sh", "-c", "observe {ra}"]}, "command: 2 holds the mark {ra}"),
        ({"command": ["sh", "-c", "observe {ra}"]}, "it has the variable TAEL_RA"),
        ({"command": None, "task": {"name": "x"}}, "triggers.0.task: executors: is required"),
        ({"command": None, "task_file": "/nowhere.json"}, "/nowhere.json: No such file"),
    ],
)
def test_what_could_never_work_stops_the_start(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(**keys)
    assert said in str(caught.value)


def test_a_mark_in_the_command_of_a_task_stops_the_start_with_the_mend() -> None:
    executor = {"image": "alpine", "command": ["sh", "-c", "echo {who}"]}
    with pytest.raises(SettingsError) as caught:
        settings(command=None, task={"executors": [executor]})
    assert "triggers.0.task: executors.0.command.2: holds the mark {who}" in str(caught.value)
    assert "env = { VALUE = '{who}' }" in str(caught.value)


def test_two_triggers_of_one_name_are_refused() -> None:
    one = {"name": "t", "topic": "a", "command": ["true"]}
    with pytest.raises(SettingsError, match="two of them are called t"):
        parse({"triggers": [one, one]})


@pytest.mark.parametrize("address", ["127.0.0.1", "host:", ":5", "host:70000", "host:x"])
def test_an_address_of_an_agent_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(SettingsError, match="no host:port"):
        parse({"agents": {"addresses": {"a": address}}})
