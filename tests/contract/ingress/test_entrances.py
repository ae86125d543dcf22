"""The ways in, as the settings ask for them."""

import asyncio
import smtplib
from pathlib import Path

from tesp.ingress import entrances, vtp_sender
from tesp.settings import parse
from tests.contract.ingress.conftest import Taker
from tests.contract.ingress.events import event
from tests.contract.ingress.mails import line, mail
from tests.peers.room import free_port


def test_without_settings_there_is_no_way_in(taker: Taker) -> None:
    assert entrances.of(parse({}), "1", taker) == []


async def test_mails_and_events_come_in_under_the_words_of_the_site(
    taker: Taker, tmp_path: Path
) -> None:
    smtp, voevent = free_port(), free_port()
    settings = parse(
        {
            "data_dir": str(tmp_path),
            "bus": {"prefix": "COGUK", "mode": "test", "user": "sam"},
            "ingress": {
                "smtp": {"enabled": True, "port": smtp, "excluded_types": ["7000"]},
                "voevent": {"receive": True, "receive_port": voevent},
            },
        }
    )
    ways = entrances.of(settings, "1", taker)
    for way in ways:
        await way.start()

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", smtp, timeout=30) as server:
            server.send_message(mail(line("m-1"), line("m-2", "7000")))

    await asyncio.to_thread(send)
    await vtp_sender.publish("127.0.0.1", voevent, event())
    await taker.until(lambda: len(taker.came) == 2)
    for way in ways:
        await way.close()
    assert [one.message.topic for one in taker.came] == [
        "COGUK/prodiguer/libigcm/1000/status",
        "COGUK/voevent/observation/status",
    ]
    assert taker.came[0].message.key == "test.sam.libigcm.monitoring.1000"
    assert {path.name for path in (tmp_path / "ingress").glob("*.sqlite")} == {
        "mails.sqlite",
        "events.sqlite",
    }
