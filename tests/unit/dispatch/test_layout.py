"""Where a task's paths lie in a workspace."""

from typing import Any

from tesp.dispatch.layout import layout_of
from tesp.runner.plan import Mount
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
