"""The settings of what comes in."""

from typing import Any

import pytest

from tesp.errors import SettingsError
from tesp.settings import parse


def test_nothing_listens_unless_it_is_asked_for() -> None:
    ingress = parse({}).ingress
    assert not (ingress.smtp.enabled or ingress.voevent.receive or ingress.voevent.broadcast)
    assert (ingress.voevent.remotes, ingress.webhooks) == ((), ())


def test_secrets_are_not_shown() -> None:
    ingress = parse(
        {
            "ingress": {
                "smtp": {"users": [{"username": "node", "password": "geheim"}]},
                "webhooks": [{"name": "lab", "topic": "a/status", "secret": "geheim" * 3}],
            }
        }
    ).ingress
    assert "geheim" not in repr(ingress)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"smtp": {"require_tls": True}}, "require_tls needs a certificate"),
        (
            {"smtp": {"host": "0.0.0.0", "users": [{"username": "n", "password": "p"}]}},
            "passwords beyond loopback need a certificate",
        ),
        ({"smtp": {"port": 70_000}}, "ingress.smtp.port"),
        ({"smtp": {"excluded_types": ["job"]}}, "'job' is no type code"),
        ({"voevent": {"local_ivo": "http://x"}}, "ingress.voevent.local_ivo"),
        ({"voevent": {"authors": ["everybody"]}}, "everybody"),
        ({"voevent": {"trusted_networks": ["10.0.0.1/8"]}}, "host bits"),
        ({"smtp": {"trusted_networks": ["us"]}}, "us"),
        ({"webhooks": [{"name": "a", "topic": "a/#"}]}, "topic"),
        ({"webhooks": [{"name": "a", "topic": "a", "secret": ""}]}, "webhooks.0.secret"),
        ({"smtp": {"users": [{"username": "n", "password": ""}]}}, "users.0.password"),
        ({"webhooks": [{"name": "a/b", "topic": "a"}]}, "name"),
        ({"webhooks": [{"name": "a", "topic": "a"}] * 2}, "two of them are called a"),
        ({"webhook": []}, "did you mean webhooks"),
    ],
)
def test_what_cannot_be_stops_the_start_and_says_why(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=r"ingress") as caught:
        parse({"ingress": keys})
    assert said in str(caught.value)
