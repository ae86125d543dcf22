"""The runner as one file."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

from tesp.backends import package
from tesp.runner.plan import PLAN_FILE, Executor, Plan, Runtime


def test_the_same_modules_give_the_same_bytes(tmp_path: Path) -> None:
    one = package.build(tmp_path)
    before = one.read_bytes()
    assert package.build(tmp_path) == one
    assert one.read_bytes() == before
    assert list(tmp_path.iterdir()) == [one]


def test_it_holds_the_runner_alone_in_source_and_in_bytecode(tmp_path: Path) -> None:
    names = set(zipfile.ZipFile(package.build(tmp_path)).namelist())
    sources = {n for n in names if n.endswith(".py")}
    assert {"__main__.py", "tesp/__init__.py", "tesp/runner/plan.py"} <= sources
    assert {n + "c" for n in sources} == names - sources
    assert all(n.startswith(("tesp/runner/", "tesp/__init__", "__main__")) for n in names)


def test_a_plan_lies_beside_the_same_runner() -> None:
    plan = Plan("t", "t-1", Runtime("docker", "docker"), [Executor("\udcff", ["é"])])
    packed, bare = package.with_plan(plan), package.packed()
    assert package.with_plan(plan) == packed
    with zipfile.ZipFile(io.BytesIO(packed)) as with_it, zipfile.ZipFile(io.BytesIO(bare)) as alone:
        assert with_it.testzip() is None
        assert set(with_it.namelist()) - set(alone.namelist()) == {PLAN_FILE}
        assert Plan.from_json(json.loads(with_it.read(PLAN_FILE))) == plan
    assert packed.startswith(bare[:100_000])


def test_it_starts_without_anything_but_the_standard_library(tmp_path: Path) -> None:
    pyz = package.build(tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-E", pyz], capture_output=True, text=True, cwd="/"
    )
    assert (done.returncode, done.stderr.split()[0]) == (2, "usage:")


def test_it_runs_on_the_oldest_python_that_a_node_has(tmp_path: Path) -> None:
    pyz = package.build(tmp_path)
    with zipfile.ZipFile(pyz) as archive:
        archive.extractall(tmp_path / "x", [n for n in archive.namelist() if n.endswith(".py")])
    done = subprocess.run(
        [Path(sys.executable).with_name("vermin"), "-t=3.6-", "--violations", tmp_path / "x"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_start_imports_nothing_that_is_slow(tmp_path: Path) -> None:
    pyz = package.build(tmp_path)
    script = (
        f"import sys; sys.path.insert(0, {str(pyz)!r}); import tesp.runner.main,"
        " tesp.runner.job, tesp.runner.programs; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-E", "-c", script], capture_output=True, text=True
    )
    slow = {"asyncio", "subprocess", "threading", "shutil", "tempfile", "ctypes", "traceback"}
    slow |= {"urllib", "http", "ssl", "socket", "email"}
    assert done.returncode == 0, done.stderr
    assert slow & set(done.stdout.split()) == set()
