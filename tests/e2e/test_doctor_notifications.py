"""`tesp doctor` goes into the mail server, and knocks at the SMS gateway."""

import json
from pathlib import Path

import pytest

from tests.peers.doctor import Doctor
from tests.peers.exim import PASSWORD, USER, EximServer
from tests.peers.hook_server import HookServer
from tests.peers.room import free_port


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


def mail(exim: EximServer, **keys: object) -> str:
    """The settings of a server, as a variable has them."""
    own = {"host": "127.0.0.1", "port": exim.guarded_port, "sender": "tesp@tes.example"}
    login = {"username": USER, "password": PASSWORD, "ca_file": str(exim.certificate.path)}
    return json.dumps({**own, **login, **keys})


def test_the_mail_server_is_entered_and_nothing_is_sent(doctor: Doctor, exim: EximServer) -> None:
    code, found = doctor.examine(notifications__mail=mail(exim))
    finding = found[f"mail server 127.0.0.1:{exim.guarded_port}"]
    assert (code, finding["verdict"]) == (0, "ok"), finding
    assert USER in finding["found"]
    assert exim.mails() == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"password": "guess"}, "535"),
        ({"ca_file": "/etc/ssl/certs/ca-certificates.crt"}, "certificate"),
        ({"port": 1}, "cannot be reached"),
        ({"ca_file": "/nowhere"}, "no PEM"),
    ],
)
def test_a_mail_server_that_does_not_let_us_in_fails_with_the_mend(
    doctor: Doctor, exim: EximServer, keys: dict[str, object], said: str
) -> None:
    code, found = doctor.examine(notifications__mail=mail(exim, **keys))
    (finding,) = [one for what, one in found.items() if what.startswith("mail server")]
    assert (code, finding["verdict"]) == (6, "fail")
    assert said in finding["found"]
    assert "notifications.mail" in finding["mend"]
    assert "guess" not in json.dumps(found)


def test_the_sms_gateway_is_connected_to(doctor: Doctor) -> None:
    with HookServer() as hooks:
        sms = json.dumps({"url": f"{hooks.url}/send?key=sesame"})
        code, found = doctor.examine(notifications__sms=sms)
    assert (code, found[f"sms gateway 127.0.0.1:{hooks.port}"]["verdict"]) == (0, "ok")
    assert hooks.got == []
    port = free_port()
    for scheme in ("http", "https"):
        sms = json.dumps({"url": f"{scheme}://127.0.0.1:{port}/"})
        code, found = doctor.examine(notifications__sms=sms)
        assert (code, found[f"sms gateway 127.0.0.1:{port}"]["verdict"]) == (6, "fail")
    assert "sesame" not in json.dumps(found)
