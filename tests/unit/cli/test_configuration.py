"""The settings of `serve` and `doctor`: file, variables, flags."""

from pathlib import Path

import pytest

from tesp.cli.configuration import configured, require_guarded
from tesp.errors import SettingsError


def test_flags_go_over_the_file_and_absent_flags_leave_it(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[default.server]\nport = 9000\nname = 'ours'\n")
    settings = configured(file, tmp_path / "d", server={"host": None, "port": 9001})
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 9001)
    assert settings.server.name == "ours"
    assert settings.data_dir == tmp_path / "d"


def test_without_file_roots_tasks_get_a_directory_of_the_data(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("")
    settings = configured(file, tmp_path)
    assert [r.path for r in settings.staging.files] == [tmp_path / "files"]


def test_file_roots_of_the_settings_stay_alone(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[default.staging]\nfiles = [{ path = '/srv/x' }]\n")
    assert [r.path for r in configured(file, tmp_path).staging.files] == [Path("/srv/x")]


def test_a_settings_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        configured(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])
def test_loopback_may_be_served_as_it_is(host: str) -> None:
    require_guarded(host, allow_open=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "tes.example", ""])
def test_a_service_that_others_can_reach_must_be_meant(host: str) -> None:
    with pytest.raises(SettingsError, match=r"server\.allow_open"):
        require_guarded(host, allow_open=False)
    require_guarded(host, allow_open=True)
