"""Our own sender of mails against our own way in."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tesp.bus import Message
from tesp.bus.mail_server import MailServer
from tesp.errors import BusRefused, BusUnavailable, MessageRefused
from tesp.ingress.attachments import Attachment, held, holding
from tesp.ingress.mail_sender import MailSender, Relay
from tests.contract.ingress.conftest import Taker
from tests.contract.ingress.mails import USER, smtp_ingress
from tests.peers.certificates import Certificate
from tests.peers.room import free_port


def told(number: int, **more: object) -> Message:
    payload = {"status": "finished", "number": number, **more}
    return Message("tesp/a/status", payload, f"id-{number}", 1000.0 + number, "a cause")


def sender_to(port: int, most_bytes: int = 1_000_000, **keys: Any) -> MailSender:
    server = MailServer("127.0.0.1", port, **keys)
    return MailSender(Relay(server, "in@tes.example", "node@hpc.example", most_bytes))


async def test_our_sender_sends_batches_to_ours(taker: Taker, tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    keys = {"certificate": certificate.path, "require_tls": True, "users": (USER,)}
    async with smtp_ingress(taker, tmp_path, **keys) as ingress:
        entry = {"security": "starttls", "trust": certificate.client(), **USER}
        ours = sender_to(ingress.port, 20_000, **entry)
        await ours.publish([told(number, text="x" * 1000) for number in range(60)])
        mails = len(await ingress.counts())
        await ours.publish([told(3), told(60)])
    assert [one.message.payload["number"] for one in taker.came] == list(range(61))
    assert mails > 3
    assert {one.message.type for one in taker.came} == {"1100"}


@pytest.mark.parametrize("data", [b"a\nb\r\nc\rd", b"\xff\x00\r\n", b"", "grüße\n".encode()])
async def test_a_file_arrives_with_every_byte_and_in_its_place_of_a_batch(
    taker: Taker, tmp_path: Path, data: bytes
) -> None:
    file = Attachment("zpráva.json", data)
    one = Message("t", {"status": "finished"}, "a file", 0.0, "c", type="7010")
    one = dataclasses.replace(one, payload=holding(one.payload, "data", file))
    async with smtp_ingress(taker, tmp_path) as ingress:
        await sender_to(ingress.port).publish([told(1), one, told(2)])
        assert len(await ingress.counts()) == 3
    assert taker.ids == ["id-1", "a file", "id-2"]
    assert held(taker.came[1].message.payload, "data")[1] == file
    assert held(taker.came[0].message.payload, "data")[1] is None


async def test_our_sender_tells_later_from_never(taker: Taker, tmp_path: Path) -> None:
    with pytest.raises(BusUnavailable, match="cannot be reached"):
        await sender_to(free_port()).publish([told(1)])
    async with smtp_ingress(taker, tmp_path) as ingress:
        taker.trouble = BusUnavailable("away")
        with pytest.raises(BusUnavailable, match="451"):
            await sender_to(ingress.port).publish([told(1)])
        taker.trouble = MessageRefused("never")
        with pytest.raises(MessageRefused, match="554"):
            await sender_to(ingress.port).publish([told(2)])
        with pytest.raises(BusRefused):
            await sender_to(ingress.port, security="starttls").publish([told(3)])
