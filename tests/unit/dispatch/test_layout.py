"""Where a task's paths lie in a workspace."""

from typing import Any

from tesp.dispatch.layout import Layout, layout_of
from tesp.dispatch.places import Bound, Link
from tesp.runner.plan import Mount
from tesp.staging import Place
from tesp.tes.models import TaskSubmission


def task(**fields: Any) -> TaskSubmission:
    fields.setdefault("executors", [{"image": "busybox", "command": ["true"]}])
    return TaskSubmission.model_validate(fields)


def files(submission: TaskSubmission) -> dict[str, str]:
    return {d.field: d.file for d in layout_of(submission).downloads}


def test_a_task_without_files_mounts_nothing() -> None:
    layout = layout_of(task())
    assert (layout.mounts, layout.directories, layout.downloads) == ((), (), ())


def test_an_input_outside_every_writable_path_is_bound_read_only() -> None:
    layout = layout_of(task(inputs=[{"path": "/in/a", "url": "http://h/a"}]))
    assert layout.mounts == (Mount("inputs/0", "/in/a", False),)
    assert layout.downloads[0].file == "inputs/0"


def test_an_input_in_an_output_directory_is_staged_there_as_a_real_file() -> None:
    submission = task(
        inputs=[{"path": "/work/x/in", "url": "http://h/a"}],
        outputs=[{"path": "/work", "url": "s3://b/d", "type": "DIRECTORY"}],
    )
    assert layout_of(submission).mounts == (Mount("roots/0", "/work", True),)
    assert files(submission) == {"inputs[0]": "roots/0/x/in"}


def test_writable_paths_merge_into_the_outermost() -> None:
    layout = layout_of(
        task(
            volumes=["/work/", "/other"],
            outputs=[{"path": "/work/out/a.txt", "url": "s3://b/a"}],
        )
    )
    assert [(m.target, m.writable) for m in layout.mounts] == [("/other", True), ("/work", True)]
    assert "roots/1/out" in layout.directories


def test_a_sibling_with_the_same_prefix_is_not_inside() -> None:
    layout = layout_of(task(volumes=["/work", "/workshop"]))
    assert [m.target for m in layout.mounts] == ["/work", "/workshop"]


def test_stdout_and_stderr_make_their_directories_writable() -> None:
    executor = {"image": "i", "command": ["x"], "stdout": "/tmp/out.log", "stderr": "/logs/e/err"}
    layout = layout_of(task(executors=[executor]))
    assert [(m.target, m.writable) for m in layout.mounts] == [("/logs/e", True), ("/tmp", True)]


def test_a_wildcard_output_makes_the_directory_before_its_first_wildcard_writable() -> None:
    layout = layout_of(
        task(outputs=[{"path": "/o/p/*/x?.txt", "url": "s3://b/d", "path_prefix": "/o"}])
    )
    assert [m.target for m in layout.mounts] == ["/o/p"]
    assert layout.outputs[0].pattern
    assert layout.outputs[0].prefix == "/o"


def test_the_prefix_of_an_output_without_wildcards_is_ignored() -> None:
    layout = layout_of(task(outputs=[{"path": "/o/a", "url": "s3://b/a", "path_prefix": "/zzz"}]))
    assert layout.outputs[0].prefix is None


def test_an_input_inside_a_directory_input_is_staged_into_it() -> None:
    submission = task(
        inputs=[
            {"path": "/ref/extra/one", "content": "1"},
            {"path": "/ref", "url": "s3://b/ref/", "type": "DIRECTORY"},
        ]
    )
    assert files(submission) == {"inputs[0]": "inputs/1/extra/one", "inputs[1]": "inputs/1"}
    assert layout_of(submission).mounts == (Mount("inputs/1", "/ref", False),)


def test_a_root_inside_a_directory_input_has_its_mount_point_made() -> None:
    layout = layout_of(
        task(
            inputs=[{"path": "/data", "url": "s3://b/d/", "type": "DIRECTORY"}],
            outputs=[{"path": "/data/out/x", "url": "s3://b/x"}],
        )
    )
    assert [m.target for m in layout.mounts] == ["/data", "/data/out"]
    assert "inputs/0/out" in layout.directories


def test_content_switches_the_url_off_and_empty_content_is_an_empty_file() -> None:
    layout = layout_of(
        task(
            inputs=[
                {"path": "/a", "content": "hi", "url": "nonsense"},
                {"path": "/b", "content": ""},
            ]
        )
    )
    assert [(d.url, d.content) for d in layout.downloads] == [(None, "hi"), (None, "")]


def shared(url: str) -> Place | None:
    """/data is shared and writable, /ref shared and read-only."""
    path = url.removeprefix("file://")
    root = next((r for r in ("/data", "/ref") if path == r or path.startswith(f"{r}/")), None)
    return Place(path, root, root == "/data") if root else None


def seen(**fields: Any) -> Layout:
    return layout_of(task(**fields), shared)


def test_an_input_in_a_shared_root_is_bound_and_never_downloaded() -> None:
    layout = seen(inputs=[{"path": "/in/a", "url": "file:///data/x/a", "type": "FILE"}])
    assert layout.mounts == (Mount("/data/x/a", "/in/a", False),)
    assert layout.downloads == ()
    assert layout.places == (Bound("inputs[0]", "/data/x/a"),)


def test_a_directory_input_is_as_writable_as_its_root() -> None:
    layout = seen(
        inputs=[
            {"path": "/data/store", "url": "file:///data/store", "type": "DIRECTORY"},
            {"path": "/genome", "url": "/ref/genome", "type": "DIRECTORY"},
        ]
    )
    assert layout.mounts == (
        Mount("/data/store", "/data/store", True),
        Mount("/ref/genome", "/genome", False),
    )


def test_content_beside_a_shared_url_is_a_file_of_its_own() -> None:
    layout = seen(inputs=[{"path": "/in/a", "url": "/data/a", "content": "x"}])
    assert layout.mounts == (Mount("inputs/0", "/in/a", False),)
    assert layout.places == ()


NEXTFLOW: dict[str, Any] = {
    "inputs": [
        {"path": "/work/.command.sh", "url": "/data/work/3a/.command.sh", "type": "FILE"},
        {"path": "/work/a.bam", "url": "/data/work/11/a.bam", "type": "FILE"},
    ],
    "outputs": [
        {"path": "/work/.exitcode", "url": "/data/work/3a/.exitcode"},
        {"path": "/work/*.bai", "path_prefix": "/work", "url": "/data/work/3a"},
        {"path": "/work/d/{a,b}.txt", "url": "/data/work/3a/d/{a,b}.txt"},
    ],
}


def test_a_work_directory_that_inputs_and_outputs_share_is_bound_itself() -> None:
    layout = seen(**NEXTFLOW)
    assert layout.mounts == (
        Mount("/data", "/data", False),
        Mount("/data/work/3a", "/work", True),
    )
    assert layout.links == (Link("/data/work/3a/a.bam", "/data/work/11/a.bam", "inputs[1]"),)
    assert (layout.downloads, layout.directories) == ((), ())
    assert Bound("outputs", "/data/work/3a", made=True) in layout.places


def with_more(**more: Any) -> Layout:
    fields = {name: [*NEXTFLOW.get(name, []), *items] for name, items in more.items()}
    return seen(**{**NEXTFLOW, **fields})


def test_a_directory_is_not_bound_where_it_would_not_be_what_the_task_asked_for() -> None:
    others = (
        with_more(volumes=["/work/empty"]),
        with_more(inputs=[{"path": "/work/c", "content": "x"}]),
        with_more(outputs=[{"path": "/work/x", "url": "/data/elsewhere/x"}]),
        with_more(outputs=[{"path": "/work/x", "url": "/data/work/3a/y"}]),
        with_more(outputs=[{"path": "/work/x", "url": "/data/work/3a/"}]),
        seen(outputs=NEXTFLOW["outputs"]),
        seen(outputs=NEXTFLOW["outputs"], inputs=NEXTFLOW["inputs"][1:]),
        seen(
            inputs=[{"path": "/o/a", "url": "/ref/a"}],
            outputs=[{"path": "/o/b", "url": "/ref/b"}],
        ),
    )
    for layout in others:
        (work,) = [m for m in layout.mounts if m.target in ("/work", "/o")]
        assert work.source.startswith("roots/")
        assert layout.links == ()


def test_an_output_to_elsewhere_does_not_keep_the_directory_from_being_bound() -> None:
    layout = with_more(outputs=[{"path": "/work/x", "url": "s3://b/x"}])
    assert Mount("/data/work/3a", "/work", True) in layout.mounts


def test_a_shared_input_inside_a_copied_root_has_a_mount_point_there() -> None:
    layout = seen(
        inputs=[{"path": "/work/in/a", "url": "/data/a"}],
        outputs=[{"path": "/work/x", "url": "s3://b/x"}],
    )
    assert Mount("/data/a", "/work/in/a", False) in layout.mounts
    assert layout.places == (Bound("inputs[0]", "/data/a", point="roots/0/in/a"),)


def test_an_output_inside_a_writable_shared_input_is_written_there() -> None:
    layout = seen(
        inputs=[{"path": "/s", "url": "/data/store", "type": "DIRECTORY"}],
        outputs=[{"path": "/s/out/x", "url": "s3://b/x"}],
    )
    assert layout.mounts == (Mount("/data/store", "/s", True),)
    assert Bound("outputs", "/data/store/out", made=True) in layout.places
    assert layout.directories == ()


def test_an_input_inside_a_shared_one_is_seen_there_already() -> None:
    layout = seen(
        inputs=[
            {"path": "/s", "url": "/data/store", "type": "DIRECTORY"},
            {"path": "/s/x", "url": "/data/store/x"},
            {"path": "/s/y", "url": "http://h/y"},
        ]
    )
    assert layout.mounts == (Mount("/data/store", "/s", True), Mount("inputs/2", "/s/y", False))


def test_a_directory_that_is_linked_into_a_work_directory_is_as_writable_as_its_root() -> None:
    more = {"path": "/work/db", "url": "/data/work/00/db", "type": "DIRECTORY"}
    layout = with_more(inputs=[more])
    assert Mount("/data/work/00/db", "/data/work/00/db", True) in layout.mounts


def test_alternatives_are_looked_for_below_the_directory_that_has_them() -> None:
    output = {"path": "/o/d/{a,b}/x", "url": "s3://k/r/d/{a,b}/x"}
    layout = layout_of(task(outputs=[output]))
    assert (layout.outputs[0].pattern, layout.outputs[0].prefix) == (True, "/o/d")
    assert [m.target for m in layout.mounts] == ["/o/d"]


def test_braces_that_the_url_does_not_have_are_those_of_a_name() -> None:
    layout = layout_of(task(outputs=[{"path": "/o/{a,b}", "url": "s3://k/both"}]))
    assert not layout.outputs[0].pattern


def test_what_is_below_the_working_directory_is_made_by_the_command() -> None:
    outputs = [{"path": "/w/x", "url": "s3://b/x"}, {"path": "/w/sub/y", "url": "s3://b/y"}]
    executor = {"image": "i", "command": ["x"]}
    at_work = layout_of(task(outputs=outputs, executors=[{**executor, "workdir": "/w"}]))
    elsewhere = layout_of(task(outputs=outputs, executors=[{**executor, "workdir": "/"}]))
    assert at_work.directories == ("roots/0",)
    assert elsewhere.directories == ("roots/0", "roots/0/sub")
