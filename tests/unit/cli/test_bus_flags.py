"""Flags as Tael's own programs take them."""

from pathlib import Path
from typing import Any

import pytest

from tesp.cli.bus.flags import PAIR, single
from tesp.cli.bus.mailing import MailSite, mail_site
from tesp.cli.bus.site import site
from tesp.errors import SettingsError


def test_a_pair_is_one_value() -> None:
    words = ["-t", "a", "--attr", "status", "finished", "--attr", "n", "-1"]
    assert single(words) == ["-t", "a", f"--attr=status{PAIR}finished", f"--attr=n{PAIR}-1"]


def test_a_list_ends_at_the_next_flag() -> None:
    words = ["--envreq", "a", "b", "-c", "true", "--payload-passthrough", "c"]
    assert single(words) == ["--envreq=a", "--envreq=b", "-c", "true", "--payload-passthrough=c"]


def test_what_is_cut_short_is_left_to_the_library() -> None:
    assert single(["--attr", "status"]) == ["--attr", "status"]
    assert single(["--envreq"]) == ["--envreq"]


@pytest.mark.parametrize(
    ("host", "url", "user", "port"),
    [
        ("localhost", "mqtt://localhost", None, 1883),
        ("mq.example:1884", "mqtt://mq.example:1884", None, 1884),
        ("mqtts://a%40b@mq.example", "mqtts://mq.example", "a@b", 8883),
        ("amqp://u@mq.example/vhost", "amqp://mq.example/vhost", "u", 5672),
        ("mqtt://[::1]:1883", "mqtt://[::1]:1883", None, 1883),
    ],
)
def test_a_host_is_a_name_or_a_url(
    tmp_path: Path, host: str, url: str, user: str | None, port: int
) -> None:
    broker = site(empty(tmp_path), host).broker
    assert (broker.url, broker.username, broker.port) == (url, user, port)


def test_without_any_broker_it_is_tael_s_own_place(tmp_path: Path) -> None:
    chosen = site(empty(tmp_path), None)
    assert (chosen.broker.host, chosen.broker.port) == ("localhost", 1883)
    assert chosen.prefix == "tesp"


@pytest.mark.parametrize("host", ["http://h", "mqtt://u:secret@h", "mqtt://h:port", "mqtt://h/v"])
def test_what_is_no_broker_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        site(empty(tmp_path), host)
    assert "secret" not in str(caught.value)


def test_each_broker_has_a_spool_of_its_own(tmp_path: Path) -> None:
    file = empty(tmp_path)
    places = {site(file, host).spool(None) for host in ("a", "b", "mqtt://u@a", "mqtt://..%2Fx@a")}
    assert len(places) == 4
    assert len({place.parent for place in places}) == 1
    assert site(file, "a").spool(tmp_path) == tmp_path


def test_a_prefix_holds_no_wildcard(tmp_path: Path) -> None:
    assert site(empty(tmp_path), "a", prefix="COGUK/x").prefix == "COGUK/x"
    with pytest.raises(SettingsError, match="--mqtt-env"):
        site(empty(tmp_path), "a", prefix="#")


def mails(directory: Path, smtp: str, **flags: Any) -> MailSite:
    given = {"mail_to": "in@x", "mail_from": "n@x", "starttls": False, "ca_file": None}
    return mail_site(empty(directory), smtp, mail_bytes=1000, **{**given, **flags})


@pytest.mark.parametrize(
    ("smtp", "starttls", "way"),
    [
        ("relay", False, ("relay", 25, "none", None)),
        ("relay:2525", True, ("relay", 2525, "starttls", None)),
        ("a%40b@relay", True, ("relay", 25, "starttls", "a@b")),
        ("smtps://u@[::1]", False, ("::1", 465, "tls", "u")),
    ],
)
def test_a_relay_is_a_host_or_a_url(
    tmp_path: Path, smtp: str, starttls: bool, way: tuple[object, ...]
) -> None:
    server = mails(tmp_path, smtp, starttls=starttls).relay.server
    assert (server.host, server.port, server.security, server.username) == way


@pytest.mark.parametrize(
    ("smtp", "flags", "said"),
    [
        ("http://relay", {}, "this is no"),
        ("relay:port", {}, "this is no HOST"),
        ("u:secret@relay", {}, "TESP_BUS_PASSWORD"),
        ("u@relay", {}, "over TLS only"),
        ("relay", {"mail_to": None}, "--mail-to"),
        ("relay", {"mail_to": "you"}, "--mail-to: this is no address"),
        ("relay", {"mail_from": "a@b\nBcc: c@d"}, "--mail-from: this is no address"),
        ("relay", {"ca_file": Path("x")}, "without TLS"),
        ("relay", {"ca_file": Path("/nowhere"), "starttls": True}, "no PEM"),
    ],
)
def test_what_is_no_relay_is_refused(
    tmp_path: Path, smtp: str, flags: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        mails(tmp_path, smtp, **flags)
    assert "secret" not in str(caught.value)


def test_each_relay_and_receiver_has_a_spool_of_its_own(tmp_path: Path) -> None:
    places = {
        mails(tmp_path, smtp, mail_to=to, starttls=True).spool(None)
        for smtp in ("a", "b", "u@a", "a:26")
        for to in ("in@x", "out@x", "../../in@x")
    }
    assert len(places) == 12
    assert len({place.parent for place in places}) == 1


def empty(directory: Path) -> Path:
    """Settings that say nothing."""
    file = directory / "settings.toml"
    file.write_text("")
    return file
