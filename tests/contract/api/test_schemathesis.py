"""The service answers as its own OpenAPI document says, whatever is sent to it."""

import asyncio
import sys
from pathlib import Path

from tesp.store.sqlite import SqliteStore
from tests.contract.api.serving import api_over, served

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


async def test_schemathesis_finds_no_failure_in_any_phase(
    store: SqliteStore, tmp_path: Path
) -> None:
    async with served(api_over(store)) as url:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
            *("run", f"{url}/openapi.json", "--no-color"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await program.communicate()
    assert program.returncode == 0, said.decode()
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in said.decode()
