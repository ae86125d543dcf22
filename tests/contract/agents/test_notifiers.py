"""Notifiers under one contract: a mail server of the real world, and an SMS gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import parse_qsl

import pytest

from tesp.agents.notifications import Notifier
from tesp.agents.notifications.mail import MailNotifier
from tesp.agents.notifications.sms import SmsNotifier
from tesp.agents.notifications.writing import Writing
from tesp.bus.mail_server import MailServer
from tesp.errors import BusRefused, BusUnavailable, MessageRefused
from tesp.events import Event
from tesp.settings import MailSettings, SmsSettings
from tesp.tes.states import State
from tests.peers.exim import NOBODY, PASSWORD, USER, EximServer
from tests.peers.hook_server import HookServer

HOSTILE = "{to}\r\nBcc: e@x.org {text}\u2028\u202e\x00 ěšč"


def event(name: str | None = "count words", **more: Any) -> Event:
    more = {"reason": "exit code 3", **more}
    return Event("task-1", 4, State.EXECUTOR_ERROR, 1_700_000_000.0, "ann", 1, name, **more)


class Way(Protocol):
    """One way to people, with a peer at its other end."""

    receiver: str
    nobody: str

    def notifier(self, password: str = PASSWORD) -> Notifier: ...
    def said(self, count: int) -> list[str]:
        """What the receiver was told, when it is so much at least."""
        ...

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def is_busy(self, busy: bool) -> None: ...


class Mails:
    receiver, nobody = "ops@tes.example", NOBODY

    def __init__(self, exim: EximServer) -> None:
        self.exim = exim
        self.start, self.stop, self.is_busy = exim.start, exim.stop, exim.is_busy

    def notifier(self, password: str | None = PASSWORD, **keys: Any) -> MailNotifier:
        given = {
            "host": "127.0.0.1",
            "port": self.exim.guarded_port,
            "username": USER,
            "password": password,
            "sender": "tesp@tes.example",
            "ca_file": self.exim.certificate.path,
            **keys,
        }
        settings = MailSettings(**given)
        return MailNotifier(MailServer.of(settings), settings.sender)

    def said(self, count: int) -> list[str]:
        mails = self.exim.mails_when(count)
        return [f"{mail['Subject']}\n{mail.get_content()}" for mail in mails]


class Texts:
    receiver, nobody = "+420123456789", "+420000000000"

    def __init__(self, hooks: HookServer) -> None:
        self.hooks = hooks
        self.start, self.stop = hooks.open, hooks.close

    def notifier(self, password: str = PASSWORD, **keys: Any) -> SmsNotifier:
        headers = {"Authorization": f"Bearer {password}"}
        return SmsNotifier(
            SmsSettings(**{"url": f"{self.hooks.url}/sms", "headers": headers, **keys})
        )

    def said(self, count: int) -> list[str]:
        taken = [posted for posted in self.hooks.got if posted.answer == 200]
        assert len(taken) >= count
        return [posted.payload["text"] for posted in taken]

    def is_busy(self, busy: bool) -> None:
        self.hooks.statuses["/sms"] = [503] if busy else []


@contextmanager
def gateway() -> Iterator[HookServer]:
    """One that knows a token and no number of zeros."""

    def judged(headers: dict[str, str], body: bytes) -> int:
        if headers["Authorization"] != f"Bearer {PASSWORD}":
            return 401
        return 422 if b"000000000" in body else 200

    with HookServer() as hooks:
        hooks.judge = judged
        yield hooks


@pytest.fixture(params=["mail", "sms"])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    if request.param == "mail":
        yield Mails(request.getfixturevalue("exim"))
        return
    with gateway() as hooks:
        yield Texts(hooks)


async def test_a_note_says_what_became_of_the_task(way: Way) -> None:
    note = Writing("https://tes.example").note(event())
    notifier = way.notifier()
    await notifier.notify(note, way.receiver)
    await notifier.close()
    (said,) = way.said(1)
    for word in ("EXECUTOR_ERROR", "count words", "task-1", "exit code 3"):
        assert word in said


async def test_what_others_say_stays_what_it_is(way: Way) -> None:
    notifier = way.notifier()
    huge = "x" * (1 << 20)
    for name, reason in ((HOSTILE, HOSTILE), (huge, "\r\n" + huge), ("\ud800", "")):
        await notifier.notify(Writing().note(event(name, reason=reason)), way.receiver)
    await notifier.close()
    first, second, _ = way.said(3)
    assert "EXECUTOR_ERROR: {to} Bcc: e@x.org {text} ěšč" in first
    assert len(second) < 4000


async def test_a_peer_that_is_away_is_tried_again(way: Way) -> None:
    note, notifier = Writing().note(event()), way.notifier()
    way.stop()
    with pytest.raises(BusUnavailable):
        await notifier.notify(note, way.receiver)
    way.start()
    await notifier.notify(note, way.receiver)
    await notifier.close()
    assert len(way.said(1)) == 1


async def test_a_peer_that_says_later_is_tried_again(way: Way) -> None:
    note, notifier = Writing().note(event()), way.notifier()
    way.is_busy(True)
    with pytest.raises(BusUnavailable, match=r"4\d\d|503"):
        await notifier.notify(note, way.receiver)
    way.is_busy(False)
    await notifier.notify(note, way.receiver)
    await notifier.close()
    assert len(way.said(1)) == 1


async def test_a_receiver_who_is_never_taken_stands_in_nobody_s_way(way: Way) -> None:
    note, notifier = Writing().note(event()), way.notifier()
    with pytest.raises(MessageRefused, match=r"550|422"):
        await notifier.notify(note, way.nobody)
    await notifier.notify(note, way.receiver)
    await notifier.close()
    assert len(way.said(1)) == 1


async def test_a_wrong_secret_is_ours_to_mend_and_is_not_shown(way: Way) -> None:
    notifier = way.notifier(password="guess")
    with pytest.raises(BusRefused, match=r"535|401") as caught:
        await notifier.notify(Writing().note(event()), way.receiver)
    await notifier.close()
    assert not isinstance(caught.value, MessageRefused)
    assert "guess" not in str(caught.value)


async def test_a_mail_is_known_by_its_event_and_for_a_machine_s(exim: EximServer) -> None:
    notifier, one = Mails(exim).notifier(), event(HOSTILE)
    for _ in range(2):
        await notifier.notify(Writing("https://tes.example").note(one), "ops@tes.example")
    first, second = exim.mails_when(2)
    assert first["Message-ID"] == second["Message-ID"] == f"<{one.id}@tes.example>"
    assert first["Envelope-to"] == first["To"] == "ops@tes.example"
    assert first["From"] == "tesp@tes.example"
    assert first["Auto-Submitted"] == "auto-generated"
    assert (first["Bcc"], first.is_multipart()) == (None, False)
    assert "See: https://tes.example/ga4gh/tes/v1/tasks/task-1?view=FULL\n" in first.get_content()
    # It came over TLS, and after a login.
    assert "esmtpsa" in first["Received"]


async def test_tls_from_the_beginning_and_plain_on_this_machine_are_ways_too(
    exim: EximServer,
) -> None:
    note, mails = Writing().note(event()), Mails(exim)
    await mails.notifier(port=exim.tls_port, security="tls").notify(note, mails.receiver)
    plain = {"username": None, "password": None, "ca_file": None, "security": "none"}
    await mails.notifier(port=exim.port, **plain).notify(note, mails.receiver)
    assert len(exim.mails_when(2)) == 2


async def test_a_certificate_that_nobody_vouches_for_is_told(exim: EximServer) -> None:
    for security, port in (("starttls", exim.port), ("tls", exim.tls_port)):
        notifier = Mails(exim).notifier(ca_file=None, security=security, port=port)
        with pytest.raises(BusRefused, match="certificate"):
            await notifier.notify(Writing().note(event()), "ops@tes.example")


async def test_a_mail_that_is_refused_for_what_it_says_is_the_mail_s_fault(
    exim: EximServer,
) -> None:
    exim.is_strict(True)
    with pytest.raises(MessageRefused, match="advertisement"):
        await Mails(exim).notifier().notify(Writing().note(event()), "ops@tes.example")


async def test_a_gateway_gets_the_body_that_it_wants() -> None:
    nested = {"messages": [{"to": ["{to}"], "body": "from tesp: {text}", "kind": 1}]}
    with gateway() as hooks:
        for keys in (
            {"body": nested},
            {"format": "form", "body": {"To": "{to}", "Body": "{text}"}},
        ):
            notifier = Texts(hooks).notifier(**keys)
            await notifier.notify(Writing().note(event("a & b")), "+420123")
            await notifier.close()
        as_json, as_form = hooks.got
    text = "tesp: EXECUTOR_ERROR: a & b (task-1): exit code 3"
    said = {"to": ["+420123"], "body": f"from tesp: {text}", "kind": 1}
    assert as_json.payload == {"messages": [said]}
    assert dict(parse_qsl(as_form.body.decode())) == {"To": "+420123", "Body": text}
    assert as_form.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert as_json.headers["Idempotency-Key"] == f"{event().id}/+420123"


async def test_a_redirect_of_a_gateway_is_not_followed() -> None:
    with gateway() as hooks:
        hooks.statuses["/sms"] = [307]
        notifier = Texts(hooks).notifier()
        with pytest.raises(BusRefused, match="redirect"):
            await notifier.notify(Writing().note(event()), "+420123")
        await notifier.close()
        assert len(hooks.got) == 1
