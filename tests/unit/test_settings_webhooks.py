"""Webhooks in the settings."""

from typing import Any

import pytest

from tesp.errors import SettingsError
from tesp.settings import parse

SECRET = "0123456789abcdef"
TARGET = {"name": "a", "url": "https://a.example/x?y=z", "secret": SECRET}


def hooks(**keys: Any) -> dict[str, Any]:
    return {"webhooks": keys}


def test_targets_and_hosts_are_taken_as_they_are_meant() -> None:
    settings = parse(
        hooks(
            targets=[TARGET | {"states": ["COMPLETE"]}],
            callback_hosts=["Hooks.Example.org.", "*.x.org", "[::1]"],
            callback_secret=SECRET,
        )
    ).webhooks
    assert settings.targets[0].states == ("COMPLETE",)
    assert settings.callback_hosts == ("hooks.example.org", "*.x.org", "::1")
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"targets": [TARGET, TARGET]}, "two of them are called a"),
        ({"targets": [TARGET | {"url": "ftp://a"}]}, "this is no URL such as https://"),
        ({"targets": [TARGET | {"url": "https://u:p@a"}]}, "credentials do not belong"),
        ({"targets": [TARGET | {"secret": "short"}]}, "16 signs or more"),
        ({"targets": [TARGET | {"states": ["DONE"]}]}, "webhooks.targets.0.states.0: "),
        ({"callback_hosts": ["a.example"]}, "callback_hosts needs callback_secret"),
        ({"callback_hosts": ["https://a"], "callback_secret": SECRET}, "a host is a name"),
        ({"callback_hosts": ["*"], "callback_secret": SECRET}, "a host is a name"),
        ({"callback_hosts": ["a.*.org"], "callback_secret": SECRET}, "a host is a name"),
    ],
)
def test_what_cannot_work_stops_the_start(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match="webhooks") as caught:
        parse(hooks(**keys))
    assert said in str(caught.value)
