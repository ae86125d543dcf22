"""The OpenAPI document: all of TES 1.1 is in it, and it is sound."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml

from tesp.api.document import complete

# The standard itself, as GA4GH publishes it under the Apache License 2.0.
SPECIFICATION = Path(__file__).with_name("tes-1.1.openapi.yaml")
Schema = dict[str, Any]
PREFIXES = ("/ga4gh/tes/v1", "/v1")
# The document of service-info 1.0 that the specification refers to.
SERVICE: Schema = {
    "type": "object",
    "required": ["id", "name", "type", "organization", "version"],
    "properties": {
        **{
            name: {"type": "string"}
            for name in ("id", "name", "description", "contactUrl", "documentationUrl")
        },
        **{name: {"type": "string"} for name in ("environment", "version")},
        "organization": {
            "type": "object",
            "required": ["name", "url"],
            "properties": {"name": {"type": "string"}, "url": {"type": "string"}},
        },
    },
}
SERVICE_TYPE: Schema = {
    "type": "object",
    "required": ["group", "artifact", "version"],
    "properties": {name: {"type": "string"} for name in ("group", "artifact", "version")},
}


@pytest.fixture(scope="module")
def ours() -> Schema:
    """The document as it is served."""
    return complete({"openapi": "3.1.0", "info": {"title": "tesp", "version": "1"}})


@pytest.fixture(scope="module")
def specification() -> Schema:
    """The document of TES 1.1."""
    document: Schema = yaml.safe_load(SPECIFICATION.read_text())
    return document


def resolved(document: Schema, schema: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    if reference.endswith("/Service"):
        return SERVICE
    if reference.endswith("/ServiceType"):
        return SERVICE_TYPE
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return resolved(document, found)


def variants(document: Schema, schema: Schema) -> list[Schema]:
    schema = resolved(document, schema)
    if "anyOf" not in schema:
        return [schema]
    return [v for part in schema["anyOf"] for v in variants(document, part)]


class Comparison:
    """Which parts of a schema of the specification ours lacks."""

    def __init__(self, specification: Schema, ours: Schema) -> None:
        self._theirs, self._ours = specification, ours
        self._seen: set[tuple[int, int]] = set()

    def missing(self, where: str, theirs: Schema, ours: Schema) -> list[str]:
        """What the best of our variants lacks."""
        theirs = resolved(self._theirs, theirs)
        found = [
            list(self._lacking(where, theirs, variant)) for variant in variants(self._ours, ours)
        ]
        return min(found, key=len)

    def _lacking(self, where: str, theirs: Schema, ours: Schema) -> Iterator[str]:
        for part in theirs.get("allOf", ()):
            yield from self.missing(where, part, ours)
        if "type" in theirs and theirs["type"] != self._type(ours):
            yield f"{where}: type {theirs['type']}, ours {ours}"
        for name in set(theirs.get("required", ())) - set(ours.get("required", ())):
            yield f"{where}.{name}: required"
        values = ours.get("enum", [ours["const"]] if "const" in ours else [])
        for value in set(theirs.get("enum", ())) - set(values):
            yield f"{where}: value {value}"
        yield from self._children(where, theirs, ours)

    def _type(self, ours: Schema) -> Any:
        return ours.get("type", "string" if "const" in ours else None)

    def _children(self, where: str, theirs: Schema, ours: Schema) -> Iterator[str]:
        for name, schema in theirs.get("properties", {}).items():
            mine = ours.get("properties", {}).get(name)
            if mine is None:
                yield f"{where}.{name}: no such property"
            else:
                yield from self.missing(f"{where}.{name}", schema, mine)
                read_only = resolved(self._theirs, schema).get("readOnly")
                if read_only and not mine.get("readOnly"):
                    yield f"{where}.{name}: readOnly"
        for kind in ("items", "additionalProperties"):
            if isinstance(theirs.get(kind), dict):
                yield from self.missing(f"{where}.{kind}", theirs[kind], ours.get(kind, {}))


def operations(document: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_the_document_is_valid_openapi(ours: Schema) -> None:
    schemathesis.openapi.from_dict(ours).validate()


def test_operation_ids_are_unique(ours: Schema) -> None:
    names = [operation["operationId"] for _, _, operation in operations(ours)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_path_and_method_of_the_specification_is_there(
    ours: Schema, specification: Schema, prefix: str
) -> None:
    for path, method, _ in operations(specification):
        assert method in ours["paths"][f"{prefix}{path}"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_parameter_of_the_specification_is_there(
    ours: Schema, specification: Schema, prefix: str
) -> None:
    comparison = Comparison(specification, ours)
    for path, method, operation in operations(specification):
        mine = ours["paths"][f"{prefix}{path}"][method].get("parameters", [])
        known = {(p["name"], p["in"]): p for p in mine}
        for parameter in operation.get("parameters", ()):
            theirs = resolved(specification, parameter)
            found = known[theirs["name"], theirs["in"]]
            assert bool(found.get("required")) == bool(theirs.get("required"))
            assert not comparison.missing(theirs["name"], theirs["schema"], found["schema"])


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_body_and_answer_of_the_specification_is_there(
    ours: Schema, specification: Schema, prefix: str
) -> None:
    comparison = Comparison(specification, ours)
    for path, method, operation in operations(specification):
        mine = ours["paths"][f"{prefix}{path}"][method]
        pairs = [(operation["responses"][200], mine["responses"]["200"])]
        if "requestBody" in operation:
            pairs.append((operation["requestBody"], mine["requestBody"]))
            assert mine["requestBody"]["required"] == operation["requestBody"]["required"]
        for theirs, found in pairs:
            kinds = (theirs["content"]["application/json"], found["content"]["application/json"])
            assert not comparison.missing(path, kinds[0]["schema"], kinds[1]["schema"])


def test_every_schema_of_the_specification_is_there_under_its_name(
    ours: Schema, specification: Schema
) -> None:
    comparison = Comparison(specification, ours)
    schemas = dict(specification["components"]["schemas"])
    # An inline enumeration with us; compared where it is used.
    assert schemas.pop("tesFileType")["enum"] == ["FILE", "DIRECTORY"]
    for name, schema in schemas.items():
        mine = ours["components"]["schemas"][name]
        assert not comparison.missing(name, schema, mine)


def test_the_comparison_sees_what_is_taken_away(ours: Schema, specification: Schema) -> None:
    theirs = specification["components"]["schemas"]["tesExecutor"]
    mine = ours["components"]["schemas"]["tesExecutor"]
    comparison = Comparison(specification, ours)
    without = {k: v for k, v in mine["properties"].items() if k != "stdin"}
    assert comparison.missing("x", theirs, {**mine, "properties": without})
    assert comparison.missing("x", theirs, {**mine, "required": ["image"]})
    wrong = {**mine["properties"], "stdin": {"type": "integer"}}
    assert comparison.missing("x", theirs, {**mine, "properties": wrong})
