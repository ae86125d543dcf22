"""cwl-tes 0.3.0, replayed: its inputs, its directory of all outputs, and the stdout within it."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.peers.server_fixtures import StartServer


@pytest.mark.parametrize("shared", [False, True])
def test_a_tool_of_cwl_tes_leaves_its_files_where_cwltool_looks(
    start_server: StartServer, tmp_path: Path, shared: bool
) -> None:
    home = tmp_path / "cwl"
    (home / "out").mkdir(parents=True)
    (home / "in.txt").write_text("in\n")
    server = start_server(staging={"files": [{"path": home, "shared": shared}]})
    work, stage = f"/{uuid.uuid4().hex[:6]}", f"/var/lib/cwl/stg{uuid.uuid4()}"
    script = f"cat {stage}/*; pwd; mkdir d; echo 2 >d/two; echo 1 >one"
    task: dict[str, Any] = {
        "name": "tool",
        "description": "",
        "inputs": [
            {
                "name": "reads",
                "description": "cwl_input:reads",
                "url": f"file://{home}/in.txt",
                "path": f"{stage}/in.txt",
                "type": "FILE",
            },
            {
                "name": "literal",
                "url": f"_:{uuid.uuid4()}",
                "content": "literal\n",
                "path": f"{stage}/literal",
                "type": "FILE",
            },
        ],
        "outputs": [
            {"name": "stdout", "url": f"file://{home}/out/said", "path": f"{work}/said"},
            {"name": "workdir", "url": f"file://{home}/out/", "path": work, "type": "DIRECTORY"},
        ],
        "executors": [
            {
                "image": "debian:12",
                "command": ["sh", "-c", script],
                "workdir": work,
                "stdout": f"{work}/said",
                "env": {"HOME": work, "TMPDIR": "/tmp"},
            }
        ],
        "resources": {"cpu_cores": 1, "ram_gb": 0.25, "disk_gb": 0.5},
        "tags": {"CWLDocumentId": "file:///tool.cwl"},
    }
    ended = server.run(task)
    assert ended["state"] == "COMPLETE", ended
    assert ended["logs"][-1]["logs"][-1]["exit_code"] == 0
    assert (home / "out" / "said").read_text() == f"in\nliteral\n{work}\n"
    assert (home / "out" / "d" / "two").read_text() == "2\n"
    assert sorted(p.name for p in (home / "out").iterdir()) == ["d", "one", "said"]
