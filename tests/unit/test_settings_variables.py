"""What is wrong by a variable is told of the variable; what is none of ours is passed over."""

import re
from pathlib import Path

import pytest

from tesp.errors import SettingsError
from tesp.settings import Settings, load

_ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"\bTESP_[A-Z_]+\b")
_SECRET = "sesame"


def refused(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(None, environ)
    return str(caught.value)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("TESP_SERVER__PROT", "TESP_SERVER__PORT"),
        ("TESP_API_SERVER__PROT", "TESP_API_SERVER__PORT"),
        ("TESP_SERVR__PORT", "TESP_SERVER__PORT"),
        ("TESP_SERVER_PORT", "TESP_SERVER__PORT"),
        ("TESP_MONGODB_URI", "TESP_STORE__MONGODB_URI"),
        ("TESP_STAGING__S3__0__ACESS_KEY", "TESP_STAGING__S3__0__ACCESS_KEY"),
        ("TESP_PULSAR__URI", "TESP_PULSAR__URL"),
        ("TESP_LIMITS__TASKS", "TESP_PULSARS__0__LIMITS__TASKS"),
        ("TESP_TOKN", "TESP_TOKEN"),
    ],
)
def test_a_wrong_variable_is_named_with_the_nearest_right_one(variable: str, meant: str) -> None:
    said = refused(**{variable: _SECRET})
    assert said == f"{variable}: no such setting; did you mean {meant}? Else unset it"


@pytest.mark.parametrize("variable", ["TESP_XYZZY", "TESP_XYZZY__PLUGH", "TESP_"])
def test_a_variable_that_is_like_none_is_to_be_unset(variable: str) -> None:
    assert refused(**{variable: "1"}) == f"{variable}: no such setting: unset it"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TESP_SERVER__PORT", "99999", ": this must be 65535 or less"),
        ("TESP_SERVER__PORT", _SECRET, ": Input should be a valid integer"),
        ("TESP_API_DISPATCH__TRANSFERS", "0", ": this must be 1 or more"),
        ("TESP_PULSARS", "one", ": this must be a list"),
        ("TESP_DB__MONGODB_URI", "localhost", ": this is no URI such as"),
        ("TESP_SERVER", "{prot = 1}", ": server.prot: no such setting; did you mean port?"),
        (
            "TESP_PULSARS",
            '[{name = "a", url = "http://a", limits = {tasks = -1}}]',
            ": pulsars.0.limits.tasks: this must be 0 or more",
        ),
    ],
)
def test_a_wrong_value_is_told_of_the_variable_that_said_it(
    variable: str, value: str, said: str
) -> None:
    assert refused(**{variable: value}).startswith(f"{variable}{said}")


def test_what_is_missing_names_the_variables_of_the_same_table() -> None:
    said = refused(TESP_PULSARS__0__URL="http://a", TESP_SERVER__PORT="1")
    assert said == "pulsars.0.name: this key must be set (see TESP_PULSARS__0__URL)"


def test_keys_that_do_not_go_together_name_the_variables_that_said_one_of_them() -> None:
    variables = {"TESP_STAGING__S3__0__BUCKET": "b", "TESP_STAGING__S3__0__ACCESS_KEY": _SECRET}
    assert refused(**variables) == (
        "staging.s3.0: access_key and secret_key go together (see TESP_STAGING__S3__0__ACCESS_KEY)"
    )


def test_a_variable_that_another_one_overrode_is_not_to_blame() -> None:
    said = refused(TESP_API_SERVER__PORT="1", TESP_SERVER="{port = 99999}")
    assert said == "TESP_SERVER: server.port: this must be 65535 or less"


def test_what_a_file_says_is_told_of_its_key(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[default]\nserver.port = 99999\n")
    with pytest.raises(SettingsError, match=r"^server\.port: this must be 65535 or less$"):
        load(file, {"TESP_SERVER__NAME": "x"})


def others() -> set[str]:
    """The variables of docker-compose, of the examples and of the tests, but for settings."""
    files = [".env.example", "docker-compose.yaml", "docker/dts/docker-compose.yaml"]
    files += ["README.md", "examples/README.md", "examples/common.sh", "tests/conftest.py"]
    text = "".join((_ROOT / file).read_text() for file in files)
    found = {name for name in _VARIABLE.findall(text) if "__" not in name}
    # The section, and a setting.
    return found - {"TESP_ENV", "TESP_DATA_DIR"}


def test_a_shell_that_is_set_up_for_compose_or_for_the_tests_can_start_the_service() -> None:
    names = others()
    assert {"TESP_UID", "TESP_PORT", "TESP_DATA", "TESP_TEST_MONGODB_URI", "TESP_FILES"} <= names
    assert load(None, dict.fromkeys(names, "1000")) == Settings()
