"""Sections that inherit, files side by side, and variables over both."""

import json
from pathlib import Path

import pytest

from tesp.errors import SettingsError
from tesp.settings import Settings, load


class Files:
    """A settings file and what lies beside it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "settings.toml"

    def load(self, text: str, secrets: str = "", **environ: str) -> Settings:
        self.path.write_text(text)
        if secrets:
            self.path.with_name(".secrets.toml").write_text(secrets)
        return load(self.path, environ)

    def refused(self, text: str, **environ: str) -> str:
        with pytest.raises(SettingsError) as caught:
            self.load(text, **environ)
        return str(caught.value)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


SECTIONS = """
[default]
server.port = 1
server.name = "default"
logging.level = "DEBUG"
pulsars = [{ name = "a", url = "http://a" }, { name = "b", url = "http://b" }]

[default.staging]
s3 = [{ bucket = "one" }]

[cluster]
server.name = "cluster"
logging.output_json = true
pulsars = [{ name = "c", url = "http://c" }]

[added]
pulsars = ["dynaconf_merge", { name = "d", url = "http://d" }]

[anew.server]
dynaconf_merge = false
name = "anew"
"""


def names(settings: Settings) -> list[str]:
    return [pulsar.name for pulsar in settings.pulsars]


@pytest.mark.parametrize("variable", ["TESP_ENV", "FASTAPI_PROFILE"])
def test_a_section_has_all_of_default_that_it_does_not_say_itself(
    files: Files, variable: str
) -> None:
    settings = files.load(SECTIONS, **{variable: "cluster"})
    assert (settings.server.name, settings.server.port) == ("cluster", 1)
    assert (settings.logging.level, settings.logging.output_json) == ("DEBUG", True)
    assert [access.bucket for access in settings.staging.s3] == ["one"]


def test_without_a_choice_it_is_default(files: Files) -> None:
    assert files.load(SECTIONS).server.name == "default"
    assert files.load(SECTIONS, TESP_ENV="").server.name == "default"


def test_a_list_takes_the_place_of_the_inherited_one(files: Files) -> None:
    assert names(files.load(SECTIONS, TESP_ENV="cluster")) == ["c"]


def test_a_list_goes_after_the_inherited_one_where_it_says_so(files: Files) -> None:
    assert names(files.load(SECTIONS, TESP_ENV="added")) == ["a", "b", "d"]


def test_a_table_takes_the_place_of_the_inherited_one_where_it_says_so(files: Files) -> None:
    server = files.load(SECTIONS, TESP_ENV="anew").server
    assert (server.name, server.port) == ("anew", 8000)


def test_a_mark_of_a_merge_does_no_harm_where_nothing_is_inherited(files: Files) -> None:
    text = """
    [default.staging]
    s3 = ["dynaconf_merge", { bucket = "one" }]
    [default.store]
    dynaconf_merge = true
    kind = "mongodb"
    """
    settings = files.load(text)
    assert settings.staging.s3[0].bucket == "one"
    assert settings.store.kind == "mongodb"


def test_the_name_of_a_section_is_read_in_any_case(files: Files) -> None:
    assert files.load(SECTIONS, TESP_ENV="CLUSTER").server.name == "cluster"


def test_a_section_that_is_not_there_is_refused_with_those_that_are(files: Files) -> None:
    said = files.refused(SECTIONS, FASTAPI_PROFILE="claster")
    assert said == (
        "FASTAPI_PROFILE = claster: no such section; "
        f"there are: added, anew, cluster, default ({files.path})"
    )
    with pytest.raises(SettingsError, match=r"there are: default \(there is no settings file\)"):
        load(None, {"TESP_ENV": "cluster"})


def test_two_choices_that_differ_are_refused(files: Files) -> None:
    said = files.refused(SECTIONS, FASTAPI_PROFILE="cluster", TESP_ENV="added")
    assert "FASTAPI_PROFILE = cluster and TESP_ENV = added" in said
    same = files.load(SECTIONS, FASTAPI_PROFILE="cluster", TESP_ENV="cluster")
    assert same.server.name == "cluster"


@pytest.mark.parametrize("text", ["[server]\nport = 1\n", "data_dir = '/x'\n"])
def test_what_stands_outside_of_every_section_is_not_just_passed_over(
    files: Files, text: str
) -> None:
    assert "outside of every section" in files.refused(text)


def test_a_file_that_is_no_toml_is_refused_with_the_place(files: Files) -> None:
    said = files.refused("[default]\nserver.port = \n")
    assert str(files.path) in said
    assert "line 2" in said


def test_secrets_beside_the_file_go_over_it(files: Files) -> None:
    settings = files.load(SECTIONS, "[default.store]\nmongodb_uri = 'mongodb://secret'\n")
    assert settings.store.mongodb_uri.get_secret_value() == "mongodb://secret"
    assert settings.server.name == "default"


def test_a_section_goes_over_the_secrets_of_default(files: Files) -> None:
    settings = files.load(SECTIONS, "[default.server]\nname = 'x'\n", TESP_ENV="cluster")
    assert settings.server.name == "cluster"


def test_a_value_may_be_made_of_a_variable(files: Files, tmp_path: Path) -> None:
    text = '[default]\nserver.name = "@format of {env[PATH]}"\n'
    assert files.load(text).server.name.startswith("of /")


def test_a_value_made_of_a_variable_that_is_not_there_is_refused_with_its_name(
    files: Files,
) -> None:
    text = '[default]\npulsars = [{ name = "a", url = "@format {env[NO_SUCH_VARIABLE]}" }]\n'
    assert "NO_SUCH_VARIABLE" in files.refused(text)
    # A section that is not chosen asks for nothing.
    assert files.load(f"{SECTIONS}\n[other]\nserver.name = '@format {{env[NO_SUCH]}}'")


def test_a_mark_that_does_not_fit_its_value_is_refused_without_it(files: Files) -> None:
    said = files.refused("[default]\nserver.port = '@int sesame'\n")
    assert "its mark" in said
    assert "sesame" not in said


def test_a_variable_goes_over_the_section(files: Files) -> None:
    settings = files.load(SECTIONS, TESP_ENV="cluster", TESP_SERVER__NAME="variable")
    assert (settings.server.name, settings.server.port) == ("variable", 1)


def test_the_prefix_of_the_tesp_api_is_understood_and_ours_wins(files: Files) -> None:
    theirs = {"TESP_API_SERVER__NAME": "theirs"}
    assert files.load(SECTIONS, **theirs).server.name == "theirs"
    assert files.load(SECTIONS, **theirs, TESP_SERVER__NAME="ours").server.name == "ours"


def test_an_empty_variable_is_none(files: Files) -> None:
    assert files.load(SECTIONS, TESP_SERVER__NAME="").server.name == "default"


@pytest.mark.parametrize(
    "text",
    [
        '[{name="v", url="http://v", limits={tasks=3}}]',
        json.dumps([{"name": "v", "url": "http://v", "limits": {"tasks": 3}}]),
    ],
)
def test_pulsars_in_a_variable_are_toml_or_json(files: Files, text: str) -> None:
    settings = files.load(SECTIONS, TESP_PULSARS=text)
    assert names(settings) == ["v"]
    assert settings.pulsars[0].limits.tasks == 3


def test_a_variable_reaches_into_a_list_by_number(files: Files) -> None:
    settings = files.load(
        SECTIONS,
        TESP_PULSARS__1__TOKEN="sesame",
        TESP_PULSARS__2__NAME="new",
        TESP_PULSARS__2__URL="http://new",
    )
    assert names(settings) == ["a", "b", "new"]
    assert settings.pulsars[1].token is not None
    assert settings.pulsars[1].token.get_secret_value() == "sesame"


def test_a_list_may_come_from_variables_alone() -> None:
    environ = {"TESP_PULSARS__0__NAME": "v", "TESP_PULSARS__0__URL": "http://v"}
    assert names(load(None, environ)) == ["v"]


@pytest.mark.parametrize("number", ["7", "first", "-1"])
def test_a_number_that_the_list_does_not_have_is_refused(files: Files, number: str) -> None:
    said = files.refused(SECTIONS, **{f"TESP_PULSARS__{number}__TOKEN": "sesame"})
    assert f"{number} is none of the numbers 0 to 2" in said
    assert "sesame" not in said


def test_a_variable_into_a_single_value_is_refused(files: Files) -> None:
    said = files.refused(SECTIONS, TESP_SERVER__NAME__FIRST="x")
    assert said == "TESP_SERVER__NAME__FIRST: there is a single value where it wants to go in"


@pytest.mark.parametrize("password", ["0123", "1e5", "true", "[", "{brace", "'quote", "@int 5"])
def test_a_secret_in_a_variable_stays_as_it_stands(files: Files, password: str) -> None:
    settings = files.load(
        SECTIONS,
        TESP_PULSARS__0__TOKEN=password,
        TESP_SERVER__PORT="8081",
        TESP_SERVER__LEGACY_STATES="false",
    )
    assert settings.pulsars[0].token is not None
    assert settings.pulsars[0].token.get_secret_value() == password
    assert (settings.server.port, settings.server.legacy_states) == (8081, False)
