"""Imports point down only: each part of tesp knows those below it, never one above or beside."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
# Bottom first. A part may import the levels below its own, and itself.
_LEVELS = (
    ("tesp.errors", "tesp.threads", "tesp.runner.plan"),
    ("tesp.tes",),
    ("tesp.events", "tesp.settings", "tesp.signature"),
    ("tesp.runner", "tesp.store", "tesp.staging", "tesp.bus", "tesp.logs", "tesp.interpreter"),
    ("tesp.backends",),
    ("tesp.dispatch", "tesp.agents", "tesp.ingress", "tesp.catalog"),
    ("tesp.api", "tesp.web"),
    ("tesp.app",),
    ("tesp.cli",),
)
_LEVEL = {part: level for level, parts in enumerate(_LEVELS) for part in parts}
_VALUES_LEVEL = _LEVEL["tesp.settings"]
# The groups of the command line that run a part of the server themselves.
_CLI_WITH_LAYERS = ("tesp.cli.serve", "tesp.cli.doctor", "tesp.cli.bus", "tesp.cli.agent")


def _modules() -> dict[str, Path]:
    """Every module of tesp by its dotted name."""
    names = {}
    for path in sorted((_ROOT / "tesp").rglob("*.py")):
        parts = path.relative_to(_ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


_MODULES = _modules()
_NAMES = sorted(set(_MODULES) - {"tesp"})


def _part(module: str) -> str | None:
    """The part of the table that a module belongs to: the longest name that it begins with."""
    fitting = [p for p in _LEVEL if module == p or module.startswith(p + ".")]
    return max(fitting, key=len, default=None)


def _imports(module: str) -> Iterator[str]:
    """Each module that this one imports, in its functions too."""
    path = _MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(), path)):
        yield from _named(node, package)


def _named(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, *filter(None, [node.module])]) if node.level else node.module
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if inner in _MODULES or _part(inner) != _part(str(base)) else str(base)


def _ours(module: str) -> list[str]:
    """What it imports of tesp; the bare package is the ground of all and holds the version."""
    return [name for name in _imports(module) if name.startswith("tesp.")]


def _layer(module: str) -> bool:
    """Whether this is a part of the server, and not a value or the command line."""
    part = _part(module)
    return part not in (None, "tesp.cli") and _LEVEL[str(part)] > _VALUES_LEVEL


def test_every_module_has_its_place_in_the_table() -> None:
    assert [m for m in _NAMES if _part(m) is None] == []


@pytest.mark.parametrize("module", _NAMES)
def test_imports_point_down_only(module: str) -> None:
    part = _part(module)
    assert part is not None, f"{module} has no place in the table"
    parts = {name: _part(name) for name in _ours(module)}
    wrong = [
        name
        for name, other in parts.items()
        if other != part and (other is None or _LEVEL[other] >= _LEVEL[part])
    ]
    assert wrong == []


@pytest.mark.parametrize("module", [m for m in _NAMES if m.startswith("tesp.tes")])
def test_the_values_of_tes_know_nothing_of_ours_but_errors(module: str) -> None:
    assert {_part(name) for name in _ours(module)} <= {"tesp.tes", "tesp.errors"}


@pytest.mark.parametrize("module", [m for m in _NAMES if m.startswith("tesp.runner")])
def test_the_runner_needs_the_standard_library_alone(module: str) -> None:
    foreign = [
        name
        for name in _imports(module)
        if not f"{name}.".startswith("tesp.runner.")
        and name.partition(".")[0] not in sys.stdlib_module_names
    ]
    assert foreign == []


@pytest.mark.parametrize("module", [m for m in _NAMES if m.startswith("tesp.cli")])
def test_a_command_speaks_http_unless_it_is_the_server(module: str) -> None:
    if not module.startswith(_CLI_WITH_LAYERS):
        assert [name for name in _ours(module) if _layer(name)] == []


def test_the_command_line_loads_the_server_only_when_it_serves() -> None:
    program = "import sys, tesp.cli.program; print(*sys.modules)"
    argv = [sys.executable, "-c", program]
    loaded = subprocess.run(argv, capture_output=True, check=True, text=True, cwd=_ROOT).stdout
    assert "tesp.cli.program" in loaded.split()
    assert [name for name in loaded.split() if _layer(name)] == []


def test_every_package_that_tesp_imports_is_a_declared_dependency() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[\[<>=!;]", wanted)[0] for wanted in project["dependencies"]}
    owners = importlib.metadata.packages_distributions()
    imported = {name.partition(".")[0] for module in _MODULES for name in _imports(module)}
    undeclared = {
        name
        for name in imported - sys.stdlib_module_names - {"tesp"}
        if not declared & {owner.lower().replace("_", "-") for owner in owners.get(name, ())}
    }
    assert undeclared == set()
