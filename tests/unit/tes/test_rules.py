"""What a request may ask for: every rule with its field and the mend."""

import json
from typing import Any

import pytest

from tesp.errors import InvalidTask, UnsupportedUrl
from tesp.tes.moments import delay_seconds
from tesp.tes.parsing import MOST_VALUES, parse
from tesp.tes.rules import Admitted, Limits, admit

LIMITS = Limits(cpus=8, ram_bytes=32 * 10**9, disk_bytes=100 * 10**9, max_retries=3)
EXECUTOR: dict[str, Any] = {"image": "alpine:3.20", "command": ["true"]}


def check_url(url: str, writing: bool, kind: str | None) -> None:
    """Takes s3:// both ways, http:// for reading a file."""
    if url.startswith("http://") and kind == "DIRECTORY":
        raise UnsupportedUrl(f"{url}: has no listing")
    if not url.startswith(("s3://",) if writing else ("s3://", "http://")):
        raise UnsupportedUrl(f"{url}: use s3://")


def judged(limits: Limits = LIMITS, **task: Any) -> Admitted:
    document = {"executors": [EXECUTOR], **task}
    return admit(parse(json.dumps(document).encode()), limits, check_url)


def problems(**task: Any) -> dict[str, str]:
    with pytest.raises(InvalidTask) as caught:
        judged(**task)
    return {p.field: p.message for p in caught.value.problems}


def refused_body(body: bytes) -> dict[str, str]:
    with pytest.raises(InvalidTask) as caught:
        parse(body)
    return {p.field: p.message for p in caught.value.problems}


def executor(**fields: Any) -> dict[str, Any]:
    return {"executors": [{**EXECUTOR, **fields}]}


def file_input(**fields: Any) -> dict[str, Any]:
    return {"path": "/data/in", "url": "s3://bucket/in", **fields}


def file_output(**fields: Any) -> dict[str, Any]:
    return {"path": "/data/out", "url": "s3://bucket/out", **fields}


def test_a_plain_task_is_admitted_as_it_is() -> None:
    admitted = judged(name="n", inputs=[file_input()], outputs=[file_output()], volumes=["/vol"])
    assert admitted.submission.name == "n"
    assert admitted.warnings == ()


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        executors=[{"image": "", "command": []}],
        inputs=[{"path": "relative", "url": "gopher://x"}],
        resources={"cpu_cores": 99},
    )
    assert set(found) == {
        "executors[0].image",
        "executors[0].command",
        "inputs[0].path",
        "inputs[0].url",
        "resources.cpu_cores",
    }


def test_executors_are_required_and_not_empty() -> None:
    assert "required" in refused_body(b"{}")["executors"]
    assert "at least one" in problems(executors=[])["executors"]


@pytest.mark.parametrize("image", ["", "-v", "--privileged", "a b", "a\nb", "a\0b", "a\x7f", "\t"])
def test_an_unusable_image_is_refused(image: str) -> None:
    assert "executors[0].image" in problems(**executor(image=image))


@pytest.mark.parametrize("image", ["a", "host:5000/a/b@sha256:0f", "docker://a", "/i.sif"])
def test_image_references_of_all_runtimes_are_admitted(image: str) -> None:
    assert judged(**executor(image=image))


def test_an_empty_command_is_refused() -> None:
    assert "executors[0].command" in problems(**executor(command=[]))


def test_one_argument_over_131071_bytes_is_refused() -> None:
    assert judged(**executor(command=["echo", "x" * 131_071]))
    assert (
        "131071" in problems(**executor(command=["echo", "x" * 131_072]))["executors[0].command[1]"]
    )
    assert problems(**executor(command=["é" * 65_536]))
    assert judged(**executor(command=["é" * 65_535]))


def test_one_variable_over_131071_bytes_is_refused_with_its_name_counted() -> None:
    assert judged(**executor(env={"A": "x" * 131_069}))
    assert "executors[0].env.A" in problems(**executor(env={"A": "x" * 131_070}))


@pytest.mark.parametrize("name", ["", "A=B", "A\0"])
def test_an_impossible_variable_name_is_refused(name: str) -> None:
    assert f"executors[0].env.{name}" in problems(**executor(env={name: "x"}))


def test_nul_is_refused_in_commands_variables_paths_and_urls() -> None:
    found = problems(
        executors=[{**EXECUTOR, "command": ["a\0"], "env": {"A": "\0"}, "stdin": "/a\0"}],
        inputs=[file_input(path="/a\0"), file_input(url="s3://a\0")],
        outputs=[file_output(path="/a/b\0")],
        volumes=["/v\0"],
    )
    assert set(found) == {
        "executors[0].command[0]",
        "executors[0].env.A",
        "executors[0].stdin",
        "inputs[0].path",
        "inputs[1].url",
        "outputs[0].path",
        "volumes[0]",
    }


@pytest.mark.parametrize("path", ["data", "", "./data", "~/data", "/data/../etc", "/.."])
def test_paths_must_be_absolute_without_dots_that_lead_up(path: str) -> None:
    streams = dict.fromkeys(("workdir", "stdin", "stdout", "stderr"), path)
    found = problems(
        **executor(**streams),
        inputs=[file_input(path=path)],
        outputs=[file_output(path=path)],
        volumes=[path],
    )
    fields = {f"executors[0].{name}" for name in streams}
    assert set(found) == fields | {"inputs[0].path", "outputs[0].path", "volumes[0]"}


def test_names_that_only_begin_with_dots_are_admitted() -> None:
    assert judged(inputs=[file_input(path="/data/..a/...b/.c")])


def test_paths_longer_than_linux_has_them_are_refused() -> None:
    assert "inputs[0].path" in problems(inputs=[file_input(path="/d/" + "n" * 256)])
    assert "inputs[0].path" in problems(inputs=[file_input(path="/d" * 2048)])
    assert judged(inputs=[file_input(path="/d/" + "n" * 255)])


def test_odd_but_possible_paths_are_admitted() -> None:
    path = "/data/a:b,c'd\"e\nf g"
    assert judged(inputs=[file_input(path=path)], outputs=[file_output(path=path)])


def test_an_input_needs_a_url_or_content() -> None:
    assert "inputs[0].url" in problems(inputs=[{"path": "/data/in"}])
    assert "inputs[0].url" in problems(inputs=[file_input(url="")])
    assert judged(inputs=[{"path": "/data/in", "content": "x"}])


def test_empty_content_is_an_empty_file() -> None:
    assert judged(inputs=[{"path": "/data/in", "content": ""}])


def test_content_switches_off_every_check_of_the_url() -> None:
    for url in ("_:uuid", "gopher://x", "", "s3://a\0", "no url at all", None):
        assert judged(inputs=[file_input(url=url, content="x")])


def test_empty_content_leaves_the_url_to_be_checked() -> None:
    assert "inputs[0].url" in problems(inputs=[file_input(url="_:uuid", content="")])


def test_content_of_128_kib_is_admitted_and_over_the_limit_refused() -> None:
    assert judged(inputs=[file_input(content="x" * 131_072)])
    assert "inputs[0].content" in problems(inputs=[file_input(content="é" * (1 << 19) + "x")])


def test_content_cannot_be_a_directory() -> None:
    assert "inputs[0].type" in problems(inputs=[file_input(content="x", type="DIRECTORY")])


def test_urls_are_judged_by_the_storages_for_their_direction() -> None:
    found = problems(
        inputs=[file_input(url="gopher://x"), file_input(path="/data/2", url="http://h/x")],
        outputs=[file_output(url="http://h/x")],
    )
    assert found == {
        "inputs[0].url": "gopher://x: use s3://",
        "outputs[0].url": "http://h/x: use s3://",
    }


def test_a_directory_from_where_nothing_can_be_listed_is_refused() -> None:
    assert judged(inputs=[file_input(url="http://h/x", type="FILE")])
    found = problems(inputs=[file_input(url="http://h/x", type="DIRECTORY")])
    assert found == {"inputs[0].url": "http://h/x: has no listing"}


def test_an_output_needs_a_url() -> None:
    assert "required" in problems(outputs=[{"path": "/data/out"}])["outputs[0].url"]
    assert "required" in problems(outputs=[file_output(url="")])["outputs[0].url"]


@pytest.mark.parametrize("path", ["/data/*.txt", "/data/a?", "/data/[ab]", "/data/*/x"])
def test_wildcards_need_a_path_prefix_that_the_path_begins_with(path: str) -> None:
    assert "outputs[0].path_prefix" in problems(outputs=[file_output(path=path)])
    for prefix in ("/other", "/data/*", ""):
        found = problems(outputs=[file_output(path=path, path_prefix=prefix)])
        assert "outputs[0].path_prefix" in found
    assert judged(outputs=[file_output(path=path, path_prefix="/data")])
    assert judged(outputs=[file_output(path=path, path_prefix="/data/")])


def test_path_prefix_is_ignored_without_wildcards() -> None:
    assert judged(outputs=[file_output(path_prefix="nonsense")])


SYSTEM = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev", "/boot"]


@pytest.mark.parametrize("directory", [*SYSTEM, "/", "/var", "/run", "//usr", "/./etc", "/usr/"])
def test_nothing_is_mounted_over_system_directories(directory: str) -> None:
    below = directory.rstrip("/") + "/x"
    found = problems(
        **executor(stdout=below, stderr=below),
        inputs=[file_input(path=directory)],
        outputs=[file_output(path=below), file_output(path=directory, type="DIRECTORY")],
        volumes=[directory],
    )
    assert set(found) == {
        "executors[0].stdout",
        "executors[0].stderr",
        "inputs[0].path",
        "outputs[0].path",
        "outputs[1].path",
        "volumes[0]",
    }


@pytest.mark.parametrize("directory", SYSTEM)
def test_nothing_is_put_below_system_directories(directory: str) -> None:
    deep = f"{directory}/local/x"
    found = problems(
        **executor(stdout=deep),
        inputs=[file_input(path=deep)],
        outputs=[file_output(path=deep)],
        volumes=[deep],
    )
    assert len(found) == 4


def test_an_output_file_directly_in_the_root_is_refused() -> None:
    assert "outputs[0].path" in problems(outputs=[file_output(path="/out")])
    assert "outputs[0].path" in problems(outputs=[file_output(path="/*.txt", path_prefix="/")])
    assert judged(outputs=[file_output(path="/out", type="DIRECTORY")])


def test_directories_that_only_sound_like_the_systems_are_admitted() -> None:
    for place in ("/library", "/user", "/var/lib/cwl/stg1", "/run/x", "/data/usr", "/device"):
        assert judged(volumes=[place], outputs=[file_output(path=f"{place}/x")])


def test_reading_and_working_in_the_images_own_directories_is_admitted() -> None:
    assert judged(**executor(workdir="/usr/src", stdin="/etc/hostname"))
    assert judged(**executor(workdir="/"))


def test_a_stream_must_be_a_file() -> None:
    assert "executors[0].stdout" in problems(**executor(stdout="/data/out/"))


def test_two_inputs_at_one_path_are_refused() -> None:
    found = problems(inputs=[file_input(), file_input(path="//data/./in/")])
    assert found == {"inputs[1].path": "is the path of inputs[0] too"}


@pytest.mark.parametrize("kind", [{"type": "FILE"}, {"content": "x"}])
def test_an_input_below_a_file_is_refused(kind: dict[str, str]) -> None:
    found = problems(inputs=[file_input(path="/data/in/below/x"), file_input(**kind)])
    assert found == {"inputs[0].path": "lies below inputs[1], which is a file"}


def test_inputs_beside_a_file_of_a_like_name_are_admitted() -> None:
    assert judged(inputs=[file_input(type="FILE"), file_input(path="/data/in.x/y", type="FILE")])


def test_very_many_deep_inputs_are_judged_quickly() -> None:
    """Pairs of paths are never compared: that would take hours here."""
    deep = "/d" * 2000
    inputs = [file_input(path=f"{deep}/{n}", type="FILE") for n in range(2000)]
    assert set(problems(inputs=[*inputs, file_input(path=f"{deep}/7/x")])) == {"inputs[2000].path"}


@pytest.mark.parametrize("kind", [{"type": "DIRECTORY"}, {}])
def test_an_input_below_what_may_be_a_directory_is_admitted(kind: dict[str, str]) -> None:
    assert judged(inputs=[file_input(**kind), file_input(path="/data/in/below")])


def test_the_same_volume_twice_is_harmless() -> None:
    assert judged(volumes=["/vol", "/vol", "/vol/"])


def test_more_than_any_backend_has_is_refused() -> None:
    resources = {"cpu_cores": 9, "ram_gb": 32.5, "disk_gb": 101}
    found = problems(resources=resources)
    assert found["resources.cpu_cores"].endswith("ask for 8 cores at most")
    assert found["resources.ram_gb"].endswith("ask for 32 GB at most")
    assert found["resources.disk_gb"].endswith("ask for 100 GB at most")
    assert judged(resources={"cpu_cores": 8, "ram_gb": 32, "disk_gb": 100})
    assert judged(Limits(), resources=resources)


def test_resources_become_needs() -> None:
    resources = {
        "cpu_cores": 2,
        "ram_gb": 0.5,
        "disk_gb": 1.5,
        "preemptible": True,
        "zones": ["a", "b"],
        "backend_parameters": {"Timeout": "60"},
    }
    needs = judged(resources=resources).needs
    assert (needs.cpus, needs.ram_bytes, needs.disk_bytes) == (2.0, 500_000_000, 1_500_000_000)
    assert (needs.preemptible, needs.zones) == (True, ("a", "b"))
    assert needs.parameters == {"timeout": "60"}


def test_cpu_cores_must_be_whole_and_2_0_is() -> None:
    assert judged(resources={"cpu_cores": 2.0}).submission.resources.cpu_cores == 2  # type: ignore[union-attr]
    assert "whole number" in problems(resources={"cpu_cores": 1.5})["resources.cpu_cores"]


@pytest.mark.parametrize("number", [b"-1", b"2147483648", b"9223372036854775808", b"1e400", b"NaN"])
def test_numbers_out_of_range_are_refused(number: bytes) -> None:
    body = b'{"executors":[],"resources":{"cpu_cores":%s}}' % number
    assert "resources.cpu_cores" in refused_body(body)


@pytest.mark.parametrize("number", [b"-1", b"1e400", b"NaN", b"Infinity", b'"4"'])
def test_sizes_must_be_finite_numbers_that_are_not_negative(number: bytes) -> None:
    body = b'{"executors":[],"resources":{"ram_gb":%s}}' % number
    assert "resources.ram_gb" in refused_body(body)


def parameters(strict: bool = False, **given: str) -> dict[str, Any]:
    return {"backend_parameters": given, "backend_parameters_strict": strict}


def test_backend_parameters_have_keys_without_case_and_are_kept_as_written() -> None:
    admitted = judged(resources=parameters(MAX_Retries="3", gpus="all", timeout="1.5"))
    stored = admitted.submission.resources
    assert stored and stored.backend_parameters == {
        "MAX_Retries": "3",
        "gpus": "all",
        "timeout": "1.5",
    }
    assert admitted.needs.parameters == {"max_retries": "3", "gpus": "all", "timeout": "1.5"}
    assert admitted.warnings == ()


def test_unsupported_backend_parameters_are_dropped_with_a_warning() -> None:
    admitted = judged(resources=parameters(VmSize="big", timeout="5"))
    stored = admitted.submission.resources
    assert stored and stored.backend_parameters == {"timeout": "5"}
    assert admitted.needs.parameters == {"timeout": "5"}
    assert len(admitted.warnings) == 1
    assert "'VmSize'" in admitted.warnings[0]
    assert "timeout" in admitted.warnings[0]


def test_a_thousand_unsupported_backend_parameters_make_few_warnings() -> None:
    given = {f"key{n}" + "x" * 1000: "" for n in range(1000)}
    warnings = judged(resources=parameters(**given)).warnings
    assert len(warnings) == 21
    assert max(map(len, warnings)) < 300
    assert "980 more" in warnings[-1]


def test_no_backend_parameters_are_left_where_all_were_dropped() -> None:
    stored = judged(resources=parameters(VmSize="big")).submission.resources
    assert stored and stored.backend_parameters is None


def test_strict_unsupported_backend_parameters_are_refused() -> None:
    found = problems(resources=parameters(strict=True, VmSize="big"))
    assert "'VmSize'" in found["resources.backend_parameters"]
    assert judged(resources=parameters(strict=True, timeout="5"))


def test_which_backend_parameters_are_supported_is_a_limit() -> None:
    limits = Limits(parameters=frozenset({"Queue"}))
    admitted = judged(limits, resources=parameters(queue="long", timeout="never"))
    assert admitted.needs.parameters == {"queue": "long"}


@pytest.mark.parametrize("value", ["60", "0.5", "0"])
def test_a_task_may_ask_to_start_later(value: str) -> None:
    needs = judged(resources=parameters(Countdown=value)).needs
    assert delay_seconds(needs.parameters, 0.0) == float(value)


@pytest.mark.parametrize("zone", ["Z", "+00:00"])
def test_a_task_may_ask_not_to_start_before_a_moment(zone: str) -> None:
    needs = judged(resources=parameters(not_before=f"2030-01-31T23:00:00{zone}")).needs
    assert delay_seconds(needs.parameters, 1_896_130_800.0 - 90) == 90.0
    assert delay_seconds(needs.parameters, 1_896_130_800.0 + 90) == 0.0


@pytest.mark.parametrize(
    "given",
    [
        {"countdown": "soon"},
        {"countdown": "-1"},
        {"countdown": "1e9"},
        {"not_before": "2030-01-31T23:00:00"},
        {"not_before": "tonight"},
        {"not_before": ""},
    ],
)
def test_a_start_that_is_no_moment_is_refused(given: dict[str, str]) -> None:
    (field,) = problems(resources=parameters(**given))
    assert field == f"resources.backend_parameters.{next(iter(given))}"


def test_a_countdown_and_a_moment_exclude_each_other() -> None:
    found = problems(resources=parameters(countdown="5", not_before="2030-01-31T23:00:00Z"))
    assert "exclude each other" in str(found)


def test_one_backend_parameter_in_two_cases_is_refused() -> None:
    assert (
        "twice"
        in problems(resources=parameters(timeout="1", Timeout="2"))[
            "resources.backend_parameters.Timeout"
        ]
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("max_retries", v) for v in ("4", "-1", "1.0", "", "x", "9" * 5000, "²")),
        *(("timeout", v) for v in ("0", "-1", "", "x", "inf", "nan", "1e3", "0.0", "9" * 400)),
        *(("gpus", v) for v in ("", "-1", "a b", "0,", ",", "--all", "all,\n")),
    ],
)
def test_bad_values_of_supported_backend_parameters_are_refused(key: str, value: str) -> None:
    assert f"resources.backend_parameters.{key}" in problems(resources=parameters(**{key: value}))


@pytest.mark.parametrize("value", ["1", "0,1", "all", "GPU-8a56a4bc-1,GPU-2", "mig:1.0"])
def test_gpus_are_a_count_or_ids_or_all(value: str) -> None:
    assert judged(resources=parameters(gpus=value)).needs.parameters == {"gpus": value}


def test_nulls_count_as_unset() -> None:
    nothing = {"name": None, "inputs": None, "outputs": None, "resources": None, "tags": None}
    assert judged(**nothing, volumes=None).submission.inputs is None
    unset = dict.fromkeys(("workdir", "stdin", "stdout", "stderr", "env", "ignore_error"))
    assert judged(**executor(**unset))
    found = problems(
        executors=[{"image": None, "command": None}], outputs=[{"path": "/a/b", "url": None}]
    )
    assert set(found) == {"executors[0].image", "executors[0].command", "outputs[0].url"}


def test_fields_that_the_server_sets_and_unknown_ones_are_dropped() -> None:
    admitted = judged(id=5, state="COMPLETE", logs="x", creation_time=[], other={"a": 1})
    assert admitted.submission == judged().submission


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"1", b"\xff", b'{"a":"\xff"}', b"{}x", b"\xef\xbb\xbf{}"],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    assert list(refused_body(body)) == ["body"]


@pytest.mark.parametrize("text", [rb"\ud800", rb"\udc00", rb"\ud800\ud800"])
def test_lone_surrogates_are_refused(text: bytes) -> None:
    assert "body" in refused_body(b'{"executors":[{"image":"a","command":["%s"]}]}' % text)
    assert "body" in refused_body(b'{"executors":[],"tags":{"%s":""}}' % text)


def test_deep_nesting_is_refused() -> None:
    assert "body" in refused_body(b'{"executors":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_mistakes_by_the_million_are_refused_before_each_has_its_message() -> None:
    many = b'{"executors":[{"image":"a","command":[' + b"1," * MOST_VALUES + b"1]}]}"
    assert str(MOST_VALUES) in refused_body(many)["body"]
    assert "body" in refused_body(many[:-1])
    assert judged(inputs=[file_input(content="," * MOST_VALUES)])


@pytest.mark.parametrize(
    ("task", "field", "message"),
    [
        ({"executors": {}}, "executors", "an array"),
        ({"executors": [1]}, "executors[0]", "an object"),
        ({"executors": [{"command": "x", "image": 1}]}, "executors[0].command", "an array"),
        ({"executors": [{"command": [1]}]}, "executors[0].command[0]", "a string"),
        ({"executors": [], "tags": {"a": 1}}, "tags.a", "a string"),
        ({"executors": [], "inputs": [{}]}, "inputs[0].path", "required"),
        ({"executors": [], "outputs": [{"type": "x"}]}, "outputs[0].type", "'FILE' or 'DIR"),
        ({"executors": [], "resources": {"preemptible": 1}}, "resources.preemptible", "true"),
    ],
)
def test_wrong_types_are_told_with_the_fields_path(
    task: dict[str, Any], field: str, message: str
) -> None:
    assert message in refused_body(json.dumps(task).encode())[field]
