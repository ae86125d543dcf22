"""Mails from real senders: swaks, smtplib, a relay of its own, and our own sender."""

import asyncio
import base64
import logging
import smtplib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Proxy

from tesp.bus import tael
from tesp.errors import BusUnavailable, MessageRefused, SettingsError
from tesp.ingress.mail import Reading
from tesp.ingress.smtp import SmtpIngress
from tesp.settings import SmtpSettings
from tests.contract.ingress.conftest import Taker
from tests.contract.ingress.mails import USER, line, mail, smtp_ingress
from tests.peers.certificates import Certificate
from tests.peers.room import free_port


async def talk(ingress: SmtpIngress, act: Callable[[smtplib.SMTP], Any]) -> Any:
    def run() -> Any:
        with smtplib.SMTP("127.0.0.1", ingress.port, timeout=30) as server:
            return act(server)

    return await asyncio.to_thread(run)


async def sent(ingress: SmtpIngress, *lines: str) -> tuple[int, str]:
    """The reply to a mail of these lines."""

    def act(server: smtplib.SMTP) -> tuple[int, str]:
        server.ehlo()
        server.mail("node@hpc.example")
        server.rcpt("in@tes.example")
        code, said = server.data(mail(*lines).as_bytes())
        return code, said.decode()

    reply: tuple[int, str] = await talk(ingress, act)
    return reply


async def swaks(port: int, *options: str | Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *("swaks", "--server", "127.0.0.1", "--port", str(port)),
        *("--from", "node@hpc.example", "--to", "in@tes.example", *map(str, options)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_swaks_sends_a_message_with_an_attachment(taker: Taker, tmp_path: Path) -> None:
    card = tmp_path / "config.card"
    card.write_text("[UserChoices]\nJobName=historical\n")
    async with smtp_ingress(taker, tmp_path) as ingress:
        body = f"{line('m-1', '0000')}\n"
        options = ("--body", body, "--attach-name", "config.card", "--attach", f"@{card}")
        code, said = await swaks(ingress.port, *options)
    assert code == 0, said
    assert "received 1, delivered 1, dropped 0, duplicate 0" in said
    (one,) = taker.came
    assert one.message.payload["configuration"] == card.read_text()
    assert one.message.type == "0000"
    assert not one.trusted
    assert tael.decode(one.message.topic, one.raw, 0.0).id == "m-1"


_TEXT_PART = """\
Subject: x
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b

{line}
--b
Content-Type: text/plain
Content-Disposition: attachment; filename=config.card
Content-Transfer-Encoding: {encoding}

{text}
--b--
"""


@pytest.mark.parametrize(
    ("encoding", "text", "meant"),
    [
        ("7bit", "JobName=a\n\nend\n", "JobName=a\n\nend\n"),
        ("8bit", "JobName=ü\nend", "JobName=ü\nend"),
        ("quoted-printable", "JobName=\n=3Da\nend=0D=0A", "JobName=a\nend\r\n"),
        ("base64", "YQpiDQpj", "a\nb\r\nc"),
    ],
)
async def test_a_file_of_any_encoding_is_what_was_sent(
    taker: Taker, tmp_path: Path, encoding: str, text: str, meant: str
) -> None:
    raw = tmp_path / "mail"
    raw.write_text(_TEXT_PART.format(line=line("m-1", "0000"), encoding=encoding, text=text))
    async with smtp_ingress(taker, tmp_path) as ingress:
        code, said = await swaks(ingress.port, "--data", f"@{raw}")
    assert code == 0, said
    assert taker.came[0].message.payload["configuration"] == meant


async def test_a_batch_arrives_in_its_order_and_is_counted(taker: Taker, tmp_path: Path) -> None:
    async with smtp_ingress(taker, tmp_path, excluded_types=("7000",)) as ingress:
        lines = (line("m-1"), line("m-2", "7000"), "noise", line("m-3"), line("m-1"))
        code, said = await sent(ingress, *lines)
        counts = [row[2:] for row in await ingress.counts()]
    assert code == 250
    assert "received 5, delivered 2, dropped 2, duplicate 1" in said
    assert "no base64" in said
    assert taker.ids == ["m-1", "m-3"]
    assert counts == [(5, 2, 2, 1)]


async def test_a_message_that_came_before_is_skipped_after_a_restart_too(
    taker: Taker, tmp_path: Path
) -> None:
    for lines in ((line("m-1"),), (line("m-1"), line("m-2"))):
        async with smtp_ingress(taker, tmp_path) as ingress:
            assert (await sent(ingress, *lines))[0] == 250
    assert taker.ids == ["m-1", "m-2"]


async def test_of_two_mails_at_once_with_the_same_message_one_is_a_duplicate(
    taker: Taker, tmp_path: Path
) -> None:
    async with smtp_ingress(taker, tmp_path) as ingress:
        replies = await asyncio.gather(*(sent(ingress, line("m-1")) for _ in range(3)))
    assert [code for code, _ in replies] == [250] * 3
    assert taker.ids == ["m-1"]


async def test_what_was_delivered_of_a_mail_is_not_delivered_again(
    taker: Taker, tmp_path: Path
) -> None:
    async with smtp_ingress(taker, tmp_path) as ingress:
        taker.last = 2
        lines = [line(f"m-{number}") for number in range(4)]
        assert (await sent(ingress, *lines))[0] == 451
        taker.last = None
        code, said = await sent(ingress, *lines)
    assert (code, "delivered 2, dropped 0, duplicate 2" in said) == (250, True)
    assert taker.ids == [f"m-{number}" for number in range(4)]


async def test_a_mail_is_sent_again_until_its_messages_are_delivered(
    taker: Taker, tmp_path: Path
) -> None:
    async with smtp_ingress(taker, tmp_path) as ingress:
        taker.trouble = BusUnavailable("the broker is away")
        assert (await sent(ingress, line("m-1")))[0] == 451
        taker.trouble = None
        assert (await sent(ingress, line("m-1")))[0] == 250
    assert taker.ids == ["m-1"]


async def test_an_error_of_ours_keeps_the_mail_with_its_sender(
    taker: Taker, tmp_path: Path
) -> None:
    async with smtp_ingress(taker, tmp_path) as ingress:
        taker.trouble = RuntimeError("a bug")
        code, said = await sent(ingress, line("m-1"))
        assert (code, "a bug" in said) == (451, False)
        taker.trouble = None
        assert (await sent(ingress, line("m-1")))[0] == 250


async def test_a_message_that_no_broker_takes_is_dropped_and_told(
    taker: Taker, tmp_path: Path
) -> None:
    taker.trouble = MessageRefused("the topic may not be written to")
    async with smtp_ingress(taker, tmp_path) as ingress:
        code, said = await sent(ingress, line("m-1"))
    assert code == 554
    assert "may not be written" in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "no text"), ("hello there", "no base64"), (line("m", simuid="7"), "simuid is no UUID")],
)
async def test_a_mail_that_is_refused_says_why(
    taker: Taker, tmp_path: Path, text: str, reason: str
) -> None:
    async with smtp_ingress(taker, tmp_path) as ingress:
        code, said = await sent(ingress, text)
        assert (code, reason in said) == (554, True), said
        assert (await sent(ingress, line("m-2")))[0] == 250
    assert taker.ids == ["m-2"]


async def test_a_mail_that_is_too_big_is_refused_and_the_next_is_taken(
    taker: Taker, tmp_path: Path
) -> None:
    async with smtp_ingress(taker, tmp_path, most_mail_bytes=100_000) as ingress:
        code, _ = await sent(ingress, *(line(f"m-{n}") for n in range(1000)))
        assert code == 552
        assert (await sent(ingress, line("m")))[0] == 250
    assert taker.ids == ["m"]


async def test_a_line_of_a_megabyte_passes_smtp_and_is_dropped(
    taker: Taker, tmp_path: Path
) -> None:
    async with smtp_ingress(taker, tmp_path) as ingress:
        raw = b"Subject: x\r\n\r\n" + b"A" * (1 << 20) + b"\r\n" + line("m-2").encode() + b"\r\n"

        def act(server: smtplib.SMTP) -> Any:
            return server.sendmail("a@b", ["c@d"], raw)

        await talk(ingress, act)
    assert taker.ids == ["m-2"]


async def test_who_sends_without_an_end_is_cut_off(taker: Taker, tmp_path: Path) -> None:
    def pour(port: int) -> bool:
        with socket.create_connection(("127.0.0.1", port), 30) as peer:
            peer.sendall(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
            try:
                for _ in range(1000):
                    peer.sendall(b"A" * 100_000)
            except OSError:
                return True
            return False

    async with smtp_ingress(taker, tmp_path, most_mail_bytes=100_000) as ingress:
        assert await asyncio.to_thread(pour, ingress.port)
        assert (await sent(ingress, line("m")))[0] == 250


async def test_too_many_connections_are_told_to_come_back(taker: Taker, tmp_path: Path) -> None:
    async with smtp_ingress(taker, tmp_path, connections=1) as ingress:

        def act(server: smtplib.SMTP) -> None:
            with pytest.raises(smtplib.SMTPConnectError) as caught:
                smtplib.SMTP("127.0.0.1", ingress.port, timeout=30)
            assert caught.value.smtp_code == 421

        await talk(ingress, act)


@pytest.mark.parametrize("kind", ["PLAIN", "LOGIN"])
async def test_who_logs_in_over_tls_is_trusted(taker: Taker, tmp_path: Path, kind: str) -> None:
    certificate = Certificate.make(tmp_path)
    keys = {"certificate": certificate.path, "require_tls": True, "users": (USER,)}
    async with smtp_ingress(taker, tmp_path, **keys) as ingress:

        def act(server: smtplib.SMTP) -> None:
            server.starttls(context=certificate.client())
            server.ehlo()
            server.user, server.password = USER["username"], USER["password"]
            server.auth(kind, server.auth_plain if kind == "PLAIN" else server.auth_login)
            server.send_message(mail(line("m-1")))

        await talk(ingress, act)
    assert [(one.message.id, one.trusted) for one in taker.came] == [("m-1", True)]


async def test_swaks_logs_in_on_loopback_and_no_log_has_the_password(
    taker: Taker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with smtp_ingress(taker, tmp_path, users=(USER,)) as ingress:
        options = ("--auth", "PLAIN", "--auth-user", "node", "--body", f"{line('m-1')}\n")
        code, said = await swaks(ingress.port, *options, "--auth-password", USER["password"])
        assert code == 0, said
        code, said = await swaks(ingress.port, *options, "--auth-password", "wrong")
        assert (code, "535" in said) == (28, True), said
    secret = base64.b64encode(f"\0node\0{USER['password']}".encode()).decode()
    assert secret not in caplog.text
    assert USER["password"] not in caplog.text
    assert [(one.message.id, one.trusted) for one in taker.came] == [("m-1", True)]


async def test_nobody_is_let_in_with_another_password_or_without_tls(
    taker: Taker, tmp_path: Path
) -> None:
    certificate = Certificate.make(tmp_path)
    keys = {"certificate": certificate.path, "require_tls": True, "users": (USER,)}
    async with smtp_ingress(taker, tmp_path, **keys) as ingress:

        def wrong(server: smtplib.SMTP) -> None:
            server.starttls(context=certificate.client())
            for name, password in (("node", "rose"), ("other", USER["password"])):
                with pytest.raises(smtplib.SMTPAuthenticationError):
                    server.login(name, password)
            with pytest.raises(smtplib.SMTPSenderRefused, match="Log in first"):
                server.sendmail("a@b", ["c@d"], mail(line("m")).as_bytes())

        def plain(server: smtplib.SMTP) -> None:
            with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"):
                server.sendmail("a@b", ["c@d"], mail(line("m")).as_bytes())

        await talk(ingress, wrong)
        await talk(ingress, plain)
    assert taker.came == []


@pytest.mark.parametrize(
    ("networks", "code", "trusted"),
    [(["127.0.0.0/8"], 250, [True]), (["10.0.0.0/8", "::1/128"], 530, [])],
)
async def test_who_comes_from_a_trusted_network_need_not_log_in(
    taker: Taker, tmp_path: Path, networks: list[str], code: int, trusted: list[bool]
) -> None:
    keys = {"users": (USER,), "trusted_networks": networks}

    def begin(server: smtplib.SMTP) -> int:
        server.ehlo()
        return server.mail("node@hpc.example")[0]

    async with smtp_ingress(taker, tmp_path, **keys) as ingress:
        assert await talk(ingress, begin) == code
        for _ in trusted:
            assert (await sent(ingress, line("m-1")))[0] == 250
    assert [one.trusted for one in taker.came] == trusted


async def test_the_unknown_may_send_untrusted_where_that_is_set(
    taker: Taker, tmp_path: Path
) -> None:
    keys = {"users": (USER,), "allow_anonymous": True}
    async with smtp_ingress(taker, tmp_path, **keys) as ingress:
        assert (await sent(ingress, line("m-1")))[0] == 250

        def trusted(server: smtplib.SMTP) -> None:
            server.login(USER["username"], USER["password"])
            server.send_message(mail(line("m-1")))

        await talk(ingress, trusted)
    # The same id of somebody unknown does not stand in the way of a trusted one.
    assert [(one.message.id, one.trusted) for one in taker.came] == [("m-1", False), ("m-1", True)]


async def test_a_second_server_relays_to_ours(taker: Taker, tmp_path: Path) -> None:
    async with smtp_ingress(taker, tmp_path) as ingress:
        relay = Controller(
            Proxy("127.0.0.1", ingress.port),
            hostname="127.0.0.1",
            port=free_port(),
            # Else it asks for the machine's name, and that may take a while.
            server_hostname="localhost",
        )
        await asyncio.to_thread(relay.start)
        try:
            code, said = await swaks(relay.port, "--body", f"{line('m-1')}\n{line('m-2')}\n")
        finally:
            await asyncio.to_thread(relay.stop)
    assert code == 0, said
    assert taker.ids == ["m-1", "m-2"]


async def test_a_port_that_is_taken_stops_the_start(taker: Taker, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = SmtpSettings(port=taken.getsockname()[1])
        ingress = SmtpIngress(settings, Reading("tesp"), taker, tmp_path / "m.sqlite")
        with pytest.raises(SettingsError, match=r"ingress\.smtp"):
            await ingress.start()
        await ingress.close()
