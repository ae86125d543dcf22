"""`tesp agent ...` as processes, with settings of their own."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.peers.bus_programs import PROGRAM, BusProgram
from tests.peers.tesp_server import toml

HOSTILE = (bytes(range(256)) * 16, b"[" * 10_000, b'{"a":' * 10_000, b"x" * 1_000_000)
_DOCUMENT = Path(__file__).parents[2] / "docs" / "agents.md"


def documented(mark: str, **places: object) -> str:
    """The block of the document with this mark; what stands for a place there is a real one."""
    text = _DOCUMENT.read_text().partition(f"<!-- {mark} -->\n```toml\n")[2].partition("```")[0]
    assert text, mark
    for place, real in places.items():
        assert f"/srv/{place}" in text
        text = text.replace(f"/srv/{place}", str(real))
    return text


class AgentProgram(BusProgram):
    """A `tesp agent ...` that runs on."""

    group = "agent"


def settings_file(directory: Path, **settings: Any) -> Path:
    """Settings in a file of that directory."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "settings.toml"
    file.write_text(f"default = {toml(settings)}\n")
    return file


@contextmanager
def agent_program(directory: Path, *args: str | Path, **settings: Any) -> Iterator[AgentProgram]:
    """One with these settings, for as long as it is needed."""
    program = AgentProgram(directory, *args, "--settings", settings_file(directory, **settings))
    try:
        yield program
    finally:
        program.process.kill()
        program.process.wait()


def agent(
    directory: Path, *args: str | Path, **settings: Any
) -> "subprocess.CompletedProcess[str]":
    """Run one to its end."""
    return subprocess.run(
        [PROGRAM, "agent", *args, "--settings", settings_file(directory, **settings)],
        cwd=directory,
        env={**os.environ, "HOME": str(directory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def payloads(lines: list[str]) -> list[Mapping[str, Any]]:
    """What messages said that mosquitto_sub saw."""
    return [json.loads(line.partition(" ")[2]) for line in lines]
