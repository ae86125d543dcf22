"""Command lines of all runtimes: pure, one table of flags."""

import csv

import pytest

from tesp.runner import apptainer, commands, sandbox
from tesp.runner.failure import Failure
from tesp.runner.plan import IMAGE_MISSING, Executor, Limits, Mount, Plan, Runtime

ENGINES = ["docker", "podman"]
APPTAINERS = ["apptainer", "singularity"]
HOSTILE = ["a:b", "c,d", 'e"f', "g'h", "i\nj", " k ", "--l", "m=n", "o\\p", 'q","r']


def plan(kind: str, executor: Executor | None = None, **fields: object) -> Plan:
    """A plan of one executor."""
    runtime = Runtime(kind, kind)._replace(**fields.pop("runtime", {}))  # type: ignore[arg-type]
    executor = executor or Executor("busybox:1", ["echo", "x"])
    return Plan("task-1", "task-1-1", runtime, [executor])._replace(**fields)  # type: ignore[arg-type]


def create(kind: str, executor: Executor | None = None, **fields: object) -> commands.Built:
    return commands.create(plan(kind, executor, **fields), 0, "owner", "/ws", None, 7)


def after(argv: list[str], flag: str) -> list[str]:
    """The values of a flag that is given once or more."""
    return [argv[i + 1] for i, a in enumerate(argv[: argv.index("--")]) if a == flag]


@pytest.mark.parametrize("kind", ENGINES)
def test_an_engine_is_asked_to_keep_the_container_and_to_clear_its_entry_point(kind: str) -> None:
    argv = create(kind).argv
    assert argv[:3] == [kind, "create", "--pull=never"]
    assert "--rm" not in argv
    assert after(argv, "--name") == ["tesp-task-1-1-0"]
    assert after(argv, "--label") == [
        "tesp.task=task-1",
        "tesp.handle=task-1-1",
        "tesp.owner=owner",
    ]
    assert argv[-6:] == ["--entrypoint", "", "--", "busybox:1", "echo", "x"]


@pytest.mark.parametrize("kind", ENGINES)
def test_limits_become_flags_with_swap_equal_to_memory(kind: str) -> None:
    built = create(kind, limits=Limits(cpus=1.5, memory_bytes=10**9))
    assert after(built.argv, "--cpus") == ["1.5"]
    assert after(built.argv, "--memory") == after(built.argv, "--memory-swap") == ["1000000000"]
    assert built.warnings == []


@pytest.mark.parametrize("kind", ENGINES)
def test_memory_below_the_floor_is_raised_with_a_warning(kind: str) -> None:
    built = create(kind, limits=Limits(memory_bytes=1))
    assert after(built.argv, "--memory") == [str(6 << 20)]
    assert len(built.warnings) == 1


@pytest.mark.parametrize(
    ("kind", "gpus", "flags"),
    [
        ("docker", "all", ["--gpus", "all"]),
        ("docker", "2", ["--gpus", "2"]),
        ("docker", "0,1", ["--gpus", '"device=0,1"']),
        ("docker", "GPU-8f", ["--gpus", '"device=GPU-8f"']),
        ("docker", "0", []),
        ("podman", "2", ["--device", "nvidia.com/gpu=0", "--device", "nvidia.com/gpu=1"]),
        ("podman", "GPU-8f", ["--device", "nvidia.com/gpu=GPU-8f"]),
        ("podman", "all", ["--device", "nvidia.com/gpu=all"]),
    ],
)
def test_gpus_are_a_count_or_a_list_of_ids(kind: str, gpus: str, flags: list[str]) -> None:
    argv = create(kind, limits=Limits(gpus=gpus)).argv
    start = argv.index(flags[0]) if flags else 0
    assert argv[start : start + len(flags)] == flags
    assert flags or not {"--gpus", "--device"} & set(argv)


@pytest.mark.parametrize("kind", [*ENGINES, *APPTAINERS])
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("writable", [True, False])
def test_a_mount_reads_back_as_csv_whatever_its_path(kind: str, name: str, writable: bool) -> None:
    mounts = [Mount(f"roots/{name}", f"/x/{name}", writable)]
    if kind in ENGINES:
        argv, word = create(kind, mounts=mounts).argv, "readonly"
    else:
        argv, word = execute(kind, mounts=mounts).argv, "ro"
    (value,) = after(argv, "--mount")
    (row,) = (
        csv.reader([value], strict=True)
        if "\n" not in value
        else csv.reader(value.splitlines(keepends=True), strict=True)
    )
    assert row == [
        "type=bind",
        f"source=/ws/roots/{name}",
        f"target=/x/{name}",
        *([] if writable else [word]),
    ]


def test_mounts_come_in_an_order_in_which_none_hides_another() -> None:
    mounts = [Mount("b", "/a/b/c"), Mount("a", "/a"), Mount("/abs", "/a/b")]
    values = after(create("docker", mounts=mounts).argv, "--mount")
    assert [v.split("source=")[1].split(",")[0] for v in values] == ["/ws/a", "/abs", "/ws/b"]


def test_plain_values_go_into_the_env_file_and_others_on_the_command_line() -> None:
    env = {"A": "b c", "B": "two\nlines", "#C": "x", "D": "tab\t", "E": "ř"}
    built = create("docker", Executor("x", ["y"], env=env))
    assert built.env_file == "A=b c\nE=ř\n"
    assert after(built.argv, "--env-file") == ["/proc/self/fd/7"]
    assert after(built.argv, "--env") == ["B=two\nlines", "#C=x", "D=tab\t"]


def test_podman_unquotes_its_env_file_so_that_quotes_stay_out_of_it() -> None:
    built = create("podman", Executor("x", ["y"], env={"A": '"q"', "B": "plain"}))
    assert built.env_file == "B=plain\n"
    assert after(built.argv, "--env") == ['A="q"']


@pytest.mark.parametrize("kind", [*ENGINES, *APPTAINERS, "sandbox"])
@pytest.mark.parametrize("image", ["--privileged", "-v", "", "a b", "x\ny", "\tx"])
def test_what_is_no_image_reference_is_refused(kind: str, image: str) -> None:
    with pytest.raises(Failure) as refused:
        commands.check_image(kind, image)
    assert refused.value.reason == IMAGE_MISSING


@pytest.mark.parametrize(
    "image",
    [
        "busybox",
        "library/busybox:1.36",
        "127.0.0.1:5000/a/b:tag",
        "x@sha256:" + "a" * 64,
        "Registry.Example/x",
    ],
)
def test_an_image_reference_is_taken(image: str) -> None:
    commands.check_image("docker", image)


def execute(
    kind: str, executor: Executor | None = None, limits_work: bool = False, **fields: object
) -> commands.Built:
    return apptainer.execute(plan(kind, executor, **fields), 0, "/ws", "docker://x", limits_work)


@pytest.mark.parametrize("kind", APPTAINERS)
def test_apptainer_is_contained_and_gets_variables_by_its_environment(kind: str) -> None:
    built = execute(kind, Executor("x", ["-c", "y"], env={"A": "b\nc"}, workdir="/data"))
    assert built.argv == [
        kind,
        "exec",
        "--containall",
        "--no-home",
        "--writable-tmpfs",
        "--pwd",
        "/data",
        "--",
        "docker://x",
        "-c",
        "y",
    ]
    prefix = kind.upper()
    assert built.environ == {f"{prefix}ENV_A": "b\nc", f"{prefix}_NO_EVAL": "1"}


@pytest.mark.parametrize("kind", APPTAINERS)
def test_apptainer_limits_only_where_groups_are_delegated(kind: str) -> None:
    limits = Limits(cpus=2, memory_bytes=10**9)
    assert after(execute(kind, limits_work=True, limits=limits).argv, "--cpus") == ["2"]
    without = execute(kind, limits=limits)
    assert "--cpus" not in without.argv
    assert "cgroups v2" in without.warnings[0]


@pytest.mark.parametrize(
    ("image", "cache", "taken"),
    [
        ("busybox:1", None, "docker://busybox:1"),
        ("busybox:1", "/sif", "/sif/busybox_1.sif"),
        ("docker://busybox", "/sif", "docker://busybox"),
        ("oras://r/x", None, "oras://r/x"),
        ("/images/x.sif", None, "/images/x.sif"),
    ],
)
def test_a_bare_image_becomes_dockers_or_a_file_of_the_cache(
    image: str, cache: str | None, taken: str
) -> None:
    assert apptainer.image_reference(image, cache) == taken


@pytest.mark.parametrize(
    ("workdir", "needed"),
    [
        (None, False),
        ("/", False),
        ("/tmp", False),
        ("/data", False),
        ("/data/x", False),
        ("/database", True),
        ("/work", True),
    ],
)
def test_a_workdir_that_nothing_covers_is_made_for_apptainer(
    workdir: str | None, needed: bool
) -> None:
    executor = Executor("x", ["y"], workdir=workdir)
    assert apptainer.needs_workdir(executor, [Mount("a", "/data/", True)]) is needed


MACHINE = sandbox.Machine(
    ["hosts", "shadow", "gshadow", "passwd", "ld.so.cache", "ssh", "ssl", "ssl/certs"],
    {"/bin": "usr/bin", "/lib64": ""},
)


def wrap(executor: Executor | None = None, **fields: object) -> tuple[list[str], commands.Built]:
    built = sandbox.wrap(plan("sandbox", executor, **fields), 0, "/ws", MACHINE, 9)
    return built.env_file.split("\0"), built


def test_the_sandbox_shows_of_etc_what_programs_need_and_never_secrets() -> None:
    args, _ = wrap()
    shown = {a for a in args if a.startswith("/etc/")}
    assert shown == {"/etc/hosts", "/etc/passwd", "/etc/ld.so.cache", "/etc/ssl/certs"}


def test_the_sandbox_has_the_hosts_links_and_no_capability() -> None:
    text = " ".join(wrap()[0])
    assert "--symlink usr/bin /bin" in text
    assert "--ro-bind /lib64 /lib64" in text
    assert "--cap-drop ALL" in text
    assert "--die-with-parent" in text


@pytest.mark.parametrize(("network", "shared"), [(None, True), ("host", True), ("none", False)])
def test_the_sandbox_shares_the_network_unless_told_not_to(
    network: str | None, shared: bool
) -> None:
    assert ("--share-net" in wrap(runtime={"network": network})[0]) is shared


def test_nothing_of_a_task_is_on_the_sandboxs_command_line_but_its_command() -> None:
    executor = Executor("x", ["echo", "--y"], env={"SECRET": "s"})
    args, built = wrap(executor, mounts=[Mount("roots/0", "/data", True)])
    assert built.argv == ["sandbox", "--args", "9", "--", "echo", "--y"]
    assert args[args.index("SECRET") - 1 : args.index("SECRET") + 2] == ["--setenv", "SECRET", "s"]
    assert args[args.index("/ws/roots/0") - 1] == "--bind"


@pytest.mark.parametrize("target", ["/usr/x", "/etc", "/", "/proc/1", "/lib64/x"])
def test_the_sandbox_refuses_to_mount_over_the_machine(target: str) -> None:
    with pytest.raises(Failure, match="Choose another path"):
        wrap(mounts=[Mount("roots/0", target, True)])


def test_software_of_the_site_is_seen_read_only_and_found_first() -> None:
    args, _ = wrap(runtime={"sandbox_paths": ["/opt/a", "/opt/b/"]})
    text = " ".join(args)
    assert "--ro-bind /opt/a /opt/a --ro-bind /opt/b/ /opt/b/" in text
    assert args[args.index("PATH") + 1].startswith("/opt/a/bin:/opt/b/bin:/usr/local/sbin:")


def test_a_nul_character_cannot_smuggle_an_option_into_the_sandbox() -> None:
    with pytest.raises(Failure, match="NUL"):
        wrap(Executor("x", ["y"], env={"A": "b\0--bind\0/\0/host"}))


def test_what_the_sandbox_cannot_do_is_a_warning_each() -> None:
    _, built = wrap(
        limits=Limits(cpus=1, gpus="1"), runtime={"user": "1:1", "network": "somewhere"}
    )
    assert [w.split(" ")[2] for w in built.warnings] == ["cannot", "cannot", "runs", "shares"]


@pytest.mark.parametrize("kind", ENGINES)
def test_start_stays_with_the_container_and_takes_stdin_only_when_there_is_one(kind: str) -> None:
    assert commands.start(plan(kind), 0) == [kind, "start", "--attach", "tesp-task-1-1-0"]
    with_stdin = plan(kind, Executor("x", ["y"], stdin="/in"))
    assert "--interactive" in commands.start(with_stdin, 0)
    assert "--interactive" in create(kind, Executor("x", ["y"], stdin="/in")).argv
