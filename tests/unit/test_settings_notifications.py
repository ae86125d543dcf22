"""Notifications in the settings."""

from pathlib import Path
from typing import Any

import pytest

from tesp.errors import SettingsError
from tesp.settings import load, parse

MAIL = {"host": "mail.example", "sender": "tesp@tes.example"}
SMS = {"url": "https://sms.example/send?key=1"}
RULE = {"name": "a", "email": ["ops@tes.example"]}


def told(**keys: Any) -> dict[str, Any]:
    return {"notifications": keys}


def test_rules_and_ways_are_taken_as_they_are_meant(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        """
[default.notifications.mail]
host = "mail.example"
username = "tesp"
password = "rosebud"
sender = "tesp@tes.example"
[default.notifications.sms]
url = "https://sms.example"
headers = { Authorization = "Bearer rosebud" }
body = { To = "{to}", Messages = [{ Body = "{text}" }] }
[[default.notifications.rules]]
name = "night"
owner = "ann"
email = ["ops@tes.example", "ops@tes.example"]
sms = ["+420 123 456 789"]
"""
    )
    settings = load(file, {}).notifications
    assert settings.mail is not None
    assert settings.sms is not None
    assert (settings.mail.security, settings.mail.reached_port) == ("starttls", 587)
    assert settings.sms.body == {"To": "{to}", "Messages": [{"Body": "{text}"}]}
    assert list(settings.sms.headers) == ["Authorization"]
    (rule,) = settings.rules
    assert rule.states == ("EXECUTOR_ERROR", "SYSTEM_ERROR", "PREEMPTED")
    assert (rule.email, rule.sms) == (("ops@tes.example",), ("+420123456789",))
    assert "rosebud" not in repr(settings)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"rules": [RULE]}, "the rule a has email: set notifications.mail"),
        ({"rules": [{"name": "a", "sms": ["+42012"]}]}, "set notifications.sms"),
        ({"mail": MAIL, "rules": [RULE, RULE]}, "two of them are called a"),
        ({"mail": MAIL, "rules": [{"name": "a"}]}, "needs email or sms"),
        ({"mail": MAIL, "rules": [RULE | {"states": ["DONE"]}]}, "rules.0.states.0: "),
        ({"mail": MAIL, "rules": [RULE | {"email": ["a@b\nBcc: c@d"]}]}, "no address such as"),
        ({"mail": MAIL, "rules": [RULE | {"email": ["a b@c"]}]}, "no address such as"),
        ({"sms": SMS, "rules": [{"name": "a", "sms": ["call me"]}]}, "no number such as"),
        ({"mail": MAIL, "rules": [RULE | {"most": 0}]}, "rules.0.most"),
        ({"mail": MAIL, "rules": [RULE | {"value": "x"}]}, "set tag, too"),
        ({"mail": MAIL | {"sender": "tesp"}}, "no address such as"),
        ({"mail": MAIL | {"username": "u"}}, "go together"),
        (
            {"mail": MAIL | {"username": "u", "password": "rosebud", "security": "none"}},
            "over TLS only",
        ),
        ({"mail": MAIL | {"security": "none", "ca_file": "x"}}, "without TLS"),
        ({"sms": {"url": "ftp://a"}}, "no URL such as"),
        ({"sms": SMS | {"body": {"to": "{to}"}}}, "{text} is missing"),
        ({"sms": SMS | {"format": "form", "body": {"a": ["{to}", "{text}"]}}}, "are texts"),
        ({"sms": SMS | {"headers": {"X-Token": "rosebud\r\nX: y"}}}, "a header is"),
    ],
)
def test_what_cannot_work_stops_the_start(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match="notifications") as caught:
        parse(told(**keys))
    assert said in str(caught.value)
    assert "rosebud" not in str(caught.value)
