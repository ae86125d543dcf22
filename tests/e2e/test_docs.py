"""The blocks of the documents that are marked as run, run."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tesp.settings import load
from tests.peers.server_fixtures import StartServer

DOCS = Path(__file__).parents[2] / "docs"
MARKED = re.compile(r"^<!-- (\w+) -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r"^## (.+)$", re.MULTILINE)


def blocks(mark: str, kind: str) -> dict[str, str]:
    """The marked blocks of a kind, by file, section and number."""
    found = {}
    for document in sorted(DOCS.glob("*.md")):
        text = document.read_text()
        for match in MARKED.finditer(text):
            section = TITLE.findall(text[: match.start()])[-1]
            if (match[1], match[2]) == (mark, kind):
                found[f"{document.stem}: {section}, {len(found)}"] = match[3]
    return found


def run(argv: list[str | Path], url: str) -> str:
    done = subprocess.run(
        argv,
        env={**os.environ, "TES_URL": url},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", blocks("runs", "sh"))
def test_commands_of_the_documents_end_well(start_server: StartServer, name: str) -> None:
    script = blocks("runs", "sh")[name]
    said = run(["bash", "-euo", "pipefail", "-c", script], start_server().url)
    assert '"COMPLETE"' in said
    assert r'"stdout":"3\n"' in said


@pytest.mark.parametrize("client", ["pytes_new", "pytes_old"])
@pytest.mark.parametrize("name", blocks("runs", "python"))
def test_programs_of_the_documents_run_with_both_generations_of_py_tes(
    request: pytest.FixtureRequest, start_server: StartServer, name: str, client: str
) -> None:
    python: Path = request.getfixturevalue(client)
    said = run([python, "-c", blocks("runs", "python")[name]], start_server().url)
    assert said.split() == ["COMPLETE", "3"]


@pytest.mark.parametrize("name", blocks("loads", "toml"))
def test_settings_of_the_documents_are_read(tmp_path: Path, name: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(blocks("loads", "toml")[name])
    assert load(file, {}) != load(None, {})


def test_no_marked_block_is_left_out() -> None:
    texts = [document.read_text() for document in DOCS.glob("*.md")]
    marked = sum(text.count(f"<!-- {mark} -->") for text in texts for mark in ("runs", "loads"))
    run_here = [*blocks("runs", "sh"), *blocks("runs", "python"), *blocks("loads", "toml")]
    assert len(run_here) == marked >= 5
