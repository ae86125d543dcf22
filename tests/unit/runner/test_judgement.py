"""What words and figures of a runtime mean, as recorded from real ones."""

from pathlib import Path

import pytest

from tesp.runner import containers, credentials, engine, identity, orphans, plan, programs
from tesp.runner.cgroups import Group
from tesp.runner.execution import Ran
from tesp.runner.failure import Failure

RAN = Ran(1, 0.0)
ZERO = "0001-01-01T00:00:00Z"
RUNC = "failed to create shim task: OCI runtime create failed: runc create failed: "


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
            plan.RUNTIME_MISSING,
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket",
            plan.RUNTIME_MISSING,
        ),
        ("manifest for 127.0.0.1:5000/x:1 not found: manifest unknown", plan.IMAGE_MISSING),
        (
            "pull access denied for x, repository does not exist or may require 'docker login'",
            plan.IMAGE_MISSING,
        ),
        ("Head https://r/v2/x/manifests/1: no basic auth credentials", plan.IMAGE_REFUSED),
        ("unauthorized: authentication required", plan.IMAGE_REFUSED),
        ("invalid reference format", plan.IMAGE_MISSING),
        ("write /var/lib/docker/tmp/x: no space left on device", plan.DISK_FULL),
        ("Get http://127.0.0.1:1/v2/: connection refused", plan.RUNTIME_ERROR),
    ],
)
def test_an_engines_words_are_understood(words: str, reason: str) -> None:
    found = engine.failure(f"Error response from daemon: {words}\n", "Image x")
    assert found.reason == reason
    assert words in found.message


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (127, RUNC + 'exec: "nosuch": executable file not found in $PATH: unknown'),
        (126, RUNC + 'exec: "/etc": permission denied: unknown'),
        (127, RUNC + 'exec: "/nosuch": stat /nosuch: no such file or directory'),
    ],
)
def test_a_command_that_is_not_there_is_the_tasks_failure(code: int, words: str) -> None:
    docker = {"ExitCode": code, "Error": words, "StartedAt": ZERO}
    podman = {"ExitCode": 0, "Error": "", "StartedAt": ZERO}  # says it on its stderr alone
    for judged in (containers.judge(docker, RAN, ""), containers.judge(podman, RAN, words)):
        assert judged.exit_code == code
        assert words in judged.warnings[0]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (127, RUNC + 'error mounting "/a" to rootfs at "/b": not a directory'),
        (128, 'could not select device driver "" with capabilities: [[gpu]]'),
        (128, "unable to find group x: no matching entries in group file"),
    ],
)
def test_what_the_engine_cannot_do_is_the_machines_failure(code: int, words: str) -> None:
    state = {"ExitCode": code, "Error": words, "StartedAt": ZERO}
    with pytest.raises(Failure) as failed:
        containers.judge(state, RAN, "")
    assert failed.value.reason == plan.RUNTIME_ERROR
    assert words in failed.value.message


@pytest.mark.parametrize("state", [None, {"Running": True, "ExitCode": 0}])
def test_an_engine_that_lost_the_container_is_the_machines_failure(
    state: dict[str, object] | None,
) -> None:
    with pytest.raises(Failure, match="unexpected EOF"):
        containers.judge(state, RAN, "unexpected EOF")
    assert containers.judge(state, RAN._replace(verdict=plan.CANCELED), "").exit_code == 137


def test_an_end_for_want_of_memory_is_told_even_with_exit_code_0() -> None:
    state = {"ExitCode": 0, "OOMKilled": True, "StartedAt": "2026-01-01T00:00:00Z"}
    judged = containers.judge(state, RAN, "")
    assert (judged.exit_code, judged.out_of_memory) == (0, True)


@pytest.mark.parametrize(
    ("ran", "limit", "full"),
    [
        (RAN._replace(exit_code=137, peak_memory_bytes=31_997_952), 32_000_000, True),
        (RAN._replace(exit_code=137, peak_memory_bytes=30_000_000), 32_000_000, False),
        (RAN._replace(exit_code=1, peak_memory_bytes=32_000_000), 32_000_000, False),
        (RAN._replace(exit_code=137, peak_memory_bytes=32_000_000), None, False),
        (RAN._replace(exit_code=137, peak_memory_bytes=None), 32_000_000, False),
        (
            RAN._replace(exit_code=137, peak_memory_bytes=32_000_000, verdict=plan.CANCELED),
            32_000_000,
            False,
        ),
    ],
)
def test_a_kill_with_all_the_memory_used_is_a_want_of_memory(
    ran: Ran, limit: int | None, full: bool
) -> None:
    assert containers.at_limit(ran, limit) is full


@pytest.mark.parametrize(
    ("file", "said", "killed"),
    [
        ("memory.events", "low 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0\n", True),
        ("memory.events", "low 0\nmax 9\noom 1\noom_kill 0\noom_group_kill 0\n", False),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", True),
        ("memory.stat", "oom_kill 1\n", False),
    ],
)
def test_a_group_knows_of_what_the_kernel_killed(
    tmp_path: Path, file: str, said: str, killed: bool
) -> None:
    (tmp_path / file).write_text(said)
    assert Group(["/nowhere", str(tmp_path)]).killed_for_memory() is killed


@pytest.mark.parametrize(
    ("ran", "limit", "exact", "enough"),
    [
        (RAN._replace(exit_code=0), None, False, True),
        (RAN._replace(exit_code=1), None, True, False),
        (RAN._replace(exit_code=125), None, True, False),
        (RAN._replace(exit_code=0, verdict=plan.CANCELED), None, True, False),
        (RAN._replace(exit_code=0, peak_memory_bytes=10), 100, True, True),
        (RAN._replace(exit_code=0, peak_memory_bytes=10), 100, False, False),
        (RAN._replace(exit_code=0, peak_memory_bytes=95), 100, True, False),
        (RAN._replace(exit_code=0, peak_memory_bytes=0), 100, True, False),
        (RAN._replace(exit_code=0), 100, True, False),
    ],
)
def test_the_engine_is_asked_unless_a_command_went_well_with_memory_to_spare(
    ran: Ran, limit: int | None, exact: bool, enough: bool
) -> None:
    assert containers.tells_all(ran, limit, exact) is enough


def test_a_sandbox_that_was_not_set_up_is_the_machines_failure() -> None:
    with pytest.raises(Failure, match="Can't mkdir"):
        programs.judge(RAN, False, "bwrap: Can't mkdir /usr/x: Read-only file system\n")
    assert programs.judge(RAN, True, "bwrap: whatever\n").exit_code == 1
    missing = "bwrap: execvp nosuch: No such file or directory\n"
    assert programs.judge(RAN, True, missing).exit_code == 127


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("busybox", "docker.io"),
        ("library/busybox", "docker.io"),
        ("quay.io/a/b:1", "quay.io"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000"),
        ("localhost/x", "localhost"),
    ],
)
def test_an_image_tells_its_registry(image: str, host: str) -> None:
    assert credentials.registry_of(image) == host


def test_an_owner_is_dead_only_where_that_is_sure() -> None:
    here = identity.current()
    assert identity.Owner.from_label(here.label()) == here
    assert not identity.is_dead(here, here)
    assert identity.is_dead(here._replace(start=here.start - 1), here)
    assert identity.is_dead(here._replace(boot="before"), here)
    assert not identity.is_dead(here._replace(boot="b", host="another"), here)
    assert not identity.is_dead(here._replace(start=0, namespace="another"), here)
    assert identity.Owner.from_label("nonsense") is None


@pytest.mark.parametrize(
    ("kind", "limits", "needed"),
    [
        ("docker", plan.Limits(), True),
        ("apptainer", plan.Limits(), True),
        ("sandbox", plan.Limits(time_seconds=5, gpus="1"), False),
        ("sandbox", plan.Limits(cpus=1), True),
        ("sandbox", plan.Limits(memory_bytes=10**9), True),
    ],
)
def test_only_a_sandbox_without_a_group_needs_no_watchdog(
    kind: str, limits: plan.Limits, needed: bool
) -> None:
    task = plan.Plan("t", "t-1", plan.Runtime(kind, kind), [], limits=limits)
    assert orphans.needs_watchdog(task) is needed
