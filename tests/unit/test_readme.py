"""The README keeps to the code."""

import re
from pathlib import Path

from tesp.tes import callbacks, offers
from tesp.tes.rules import BACKEND_PARAMETERS
from tesp.tes.states import INITIAL, TABLE, TERMINAL, State

README = Path(__file__).parents[2] / "README.md"


def diagram() -> str:
    """The state table as a Mermaid diagram."""
    lines = ["stateDiagram-v2", f"[*] --> {INITIAL}"]
    lines += [f"{source} --> {to}: {transition}" for (source, transition), to in TABLE.items()]
    lines += [f"{state} --> [*]" for state in State if state in TERMINAL]
    return "\n    ".join(lines)


def test_the_state_diagram_of_the_readme_is_that_of_the_table() -> None:
    assert f"```mermaid\n{diagram()}\n```" in README.read_text(), diagram()


def test_the_readme_names_every_backend_parameter() -> None:
    text = README.read_text().partition("`resources.backend_parameters`")[2]
    table = text.partition("|---|---|\n")[2].partition("\n\n")[0]
    named = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert set(named) == BACKEND_PARAMETERS | {offers.PARAMETER, callbacks.PARAMETER}
