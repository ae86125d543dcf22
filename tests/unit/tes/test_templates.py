"""Templates of tasks: where marks are filled in, and where none may stand."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesp.errors import InvalidTask
from tesp.tes.templates import fields_of, filled, problems

HOSTILE = "$(rm -rf /); `id` {other} {{x}} ' \" \n %2e ../.."
TEMPLATE: dict[str, Any] = {
    "name": "of {target}",
    "tags": {"target": "{target}", "fixed": "a"},
    "executors": [
        {
            "image": "alpine",
            "command": ["sh", "-c", "echo ${TARGET} {a,b} {{print}}"],
            "env": {"TARGET": "{target}", "BOTH": "{target}-{n}"},
        }
    ],
    "inputs": [
        {"path": "/in/a", "url": "s3://bucket/{target}/a?x={n}"},
        {"path": "/in/b", "content": "{target}"},
        {"path": "/in/c", "content": "{*}"},
    ],
    "outputs": [{"path": "/out", "url": "file:///srv/{target}"}],
}


def task(**parts: Any) -> dict[str, Any]:
    executor = {"image": "i", "command": ["true"], **parts.pop("executor", {})}
    return {"executors": [executor], **parts}


def test_values_are_filled_in_whole_and_read_no_second_time() -> None:
    assert problems(TEMPLATE) == []
    assert fields_of(TEMPLATE) == {"target", "n", "*"}
    fields = {"target": "{n} $(id) a/b", "n": 1.5}
    done = filled(TEMPLATE, fields)
    executor = done["executors"][0]
    assert done["name"] == "of {n} $(id) a/b"
    assert done["tags"] == {"target": fields["target"], "fixed": "a"}
    assert executor["env"] == {"TARGET": fields["target"], "BOTH": "{n} $(id) a/b-1.5"}
    assert executor["command"] == ["sh", "-c", "echo ${TARGET} {a,b} {print}"]
    assert done["inputs"][0]["url"] == "s3://bucket/%7Bn%7D%20%24%28id%29%20a%2Fb/a?x=1.5"
    assert done["inputs"][1]["content"] == fields["target"]
    assert json.loads(done["inputs"][2]["content"]) == fields


@given(st.text())
def test_whatever_a_field_says_the_command_and_the_image_stay(value: str) -> None:
    template = {**TEMPLATE, "inputs": [], "outputs": []}
    executor = filled(template, {"target": value, "n": value})["executors"][0]
    assert executor["env"]["TARGET"] == value
    assert executor["command"][2] == "echo ${TARGET} {a,b} {print}"
    assert executor["image"] == "alpine"


@pytest.mark.parametrize(
    ("wrong", "place", "mend"),
    [
        (task(executor={"command": ["sh", "-c", "echo {x}"]}), "executors.0.command.2", "env = {"),
        (task(executor={"image": "{x}"}), "executors.0.image", "marks may stand in"),
        (task(executor={"workdir": "/{x}"}), "executors.0.workdir", "marks may stand in"),
        (task(executor={"stdout": "/o/{x}"}), "executors.0.stdout", "marks may stand in"),
        (task(executor={"env": {"{x}": "1"}}), "executors.0.env.the key", "marks may stand in"),
        (task(tags={"{x}": "1"}), "tags.the key", "marks may stand in"),
        (task(tags={"a": "{*}"}), "tags.a", "whole content"),
        (task(volumes=["/{x}"]), "volumes.0", "marks may stand in"),
        (task(inputs=[{"path": "/{x}", "url": "s3://b/a"}]), "inputs.0.path", "marks may stand"),
        (task(inputs=[{"path": "/a", "content": "echo {x}"}]), "inputs.0.content", "whole content"),
        (task(inputs=[{"path": "/a", "url": "{x}"}]), "inputs.0.url", "host"),
        (task(inputs=[{"path": "/a", "url": "http://{x}/a"}]), "inputs.0.url", "host"),
        (task(outputs=[{"path": "/a", "url": "s3://{x}"}]), "outputs.0.url", "host"),
        (task(resources={"zones": ["{x}"]}), "resources.zones.0", "marks may stand in"),
    ],
)
def test_a_mark_where_none_may_stand_is_told_with_its_place_and_mend(
    wrong: dict[str, Any], place: str, mend: str
) -> None:
    (problem,) = problems(wrong)
    assert problem.field.startswith(place)
    assert mend in problem.message


@pytest.mark.parametrize("fields", [{}, {"x": None}, {"X": "1"}])
def test_a_field_that_is_missing_is_named(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask, match=r"tags\.a: asks for x, which the message does not say"):
        filled(task(tags={"a": "{x}"}), fields)


@pytest.mark.parametrize("value", ["", ".", "..", "../x", "a/../b", HOSTILE])
@pytest.mark.parametrize("url", ["file:///srv/{x}/out", "s3://b/a/{x}", "s3://b/{x}"])
def test_a_value_does_not_lead_a_url_astray(url: str, value: str) -> None:
    with pytest.raises(InvalidTask, match="another directory"):
        filled(task(outputs=[{"path": "/a", "url": url}]), {"x": value})


def test_two_values_do_not_lead_a_url_astray_together() -> None:
    with pytest.raises(InvalidTask, match="another directory"):
        filled(task(outputs=[{"path": "/a", "url": "s3://b/{x}{x}/c"}]), {"x": "."})


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (3, "3"), (1.25, "1.25"), ("3", "3"), ("é", "é")]
)
def test_values_are_texts_as_in_json(value: object, text: str) -> None:
    done = filled(task(tags={"a": "{x}"}), {"x": value})  # type: ignore[dict-item]
    assert done["tags"]["a"] == text
