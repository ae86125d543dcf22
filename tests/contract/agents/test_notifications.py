"""Rules: who is told of what, once, whatever breaks, and never too often."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tesp.agents import cursor_of
from tesp.agents.feeder import Feeder
from tesp.agents.notifications import Note, Notifier
from tesp.agents.notifications.mail import MailNotifier
from tesp.agents.notifications.sink import NotificationSink
from tesp.agents.notifications.writing import Writing
from tesp.bus.mail_server import MailServer
from tesp.errors import BusUnavailable, MessageRefused
from tesp.settings import RuleSettings
from tesp.store import NewTask
from tesp.tes.identifiers import new_task_id
from tesp.tes.views import Text
from tests.contract.agents.log_room import LogRoom
from tests.contract.waiting import until
from tests.peers.exim import EximServer

WINDOW = 5.0  # seconds


class Diary:
    """A notifier in memory: what it was told for whom; `troubles` are raised first."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Note]] = []
        self.tried = 0
        self.troubles: dict[str, list[Exception]] = {}

    async def notify(self, note: Note, receiver: str) -> None:
        self.tried += 1
        if troubles := self.troubles.get(receiver):
            raise troubles.pop(0)
        self.told.append((receiver, note))

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def subjects(self) -> list[str]:
        return [note.subject for _, note in self.told]


class Site(LogRoom):
    """Rules over a log."""

    async def happen(
        self, *names: str, owner: str = "ann", tags: Mapping[str, str] | None = None
    ) -> None:
        """Tasks of these names that are canceled at once."""
        said = json.dumps({"executors": [], **({"tags": tags} if tags else {})})[1:-1]
        await self.add(
            *(NewTask(new_task_id(), owner, Text(said), name, tags=tags or {}) for name in names),
            cancel=True,
        )

    async def rule(self, notifier: Notifier, name: str = "r", **keys: Any) -> None:
        """One whose receivers stand in `email`; of what was canceled, unless it is said."""
        rule = RuleSettings(**{"name": name, "states": ["CANCELED"], "email": ["a@x"], **keys})
        for who in rule.email:
            sink = NotificationSink(f"{name}:{who}", rule, who, notifier, Writing(), self.store)
            await self.store.begin_cursor(cursor_of(sink.name))
            feeder = Feeder(sink, self.store, self.news, f"holder-{sink.name}", 60)
            self.begin(sink.name, feeder.run())

    async def cursor(self, sink: str = "r:a@x") -> int:
        return await self.store.cursor(cursor_of(sink))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with Site.opened(tmp_path) as opened:
        yield opened


def canceled(*names: str) -> list[str]:
    return [f"tesp: CANCELED: {name}" for name in names]


async def test_a_rule_tells_of_what_it_wants(site: Site) -> None:
    diaries = {name: Diary() for name in ("all", "ends", "prefix", "owner", "bad")}
    await site.rule(diaries["all"], "all", states=[])
    await site.rule(diaries["ends"], "ends")
    await site.rule(diaries["prefix"], "prefix", name_prefix="night-")
    await site.rule(diaries["owner"], "owner", owner="bob")
    await site.rule(diaries["bad"], "bad", states=RuleSettings.model_fields["states"].default)
    await site.happen("night-1", "day-1")
    await site.happen("night-2", owner="bob")

    await until(lambda: len(diaries["all"].told) == 6)
    await until(lambda: len(diaries["ends"].told) == 3)
    await until(lambda: diaries["owner"].told and len(diaries["prefix"].told) == 2)

    assert diaries["ends"].subjects == canceled("night-1", "day-1", "night-2")
    assert diaries["prefix"].subjects == canceled("night-1", "night-2")
    assert diaries["owner"].subjects == canceled("night-2")
    assert diaries["bad"].told == []


async def test_a_rule_may_ask_for_a_tag(site: Site) -> None:
    diaries = {"some": Diary(), "any": Diary()}
    await site.rule(diaries["some"], "some", tag="project", value="genomes")
    await site.rule(diaries["any"], "any", tag="project")
    await site.happen("none")
    await site.happen("genomes", tags={"project": "genomes"})
    await site.happen("stars", tags={"project": "stars"})
    await site.happen("other", tags={"color": "genomes"})
    await site.happen("genomes", tags={"project": "genomes", "color": "red"})

    await until(lambda: len(diaries["any"].told) == 3 and len(diaries["some"].told) == 2)

    assert diaries["some"].subjects == canceled("genomes", "genomes")
    assert diaries["any"].subjects == canceled("genomes", "stars", "genomes")


async def test_a_flood_is_a_few_notes_and_one_summary_of_all_else(site: Site) -> None:
    diary = Diary()
    await site.happen("before")
    # The summary is not taken at once, and is none the less one.
    await site.rule(diary, most=2, window_seconds=WINDOW)
    await site.happen(*(f"t-{number}" for number in range(300)))
    await until(lambda: len(diary.told) == 2)
    diary.troubles["a@x"] = [BusUnavailable("away")] * 2

    await until(lambda: len(diary.told) == 3)

    assert diary.subjects[:2] == canceled("t-0", "t-1")
    assert diary.subjects[2] == "tesp: 298 CANCELED"
    assert "t-2\n" in diary.told[2][1].text
    await site.happen("after")
    await until(lambda: len(diary.told) == 4)
    assert diary.subjects[3] == canceled("after")[0]


async def test_a_stop_in_the_middle_of_a_flood_repeats_nothing(site: Site) -> None:
    first, second = Diary(), Diary()
    await site.rule(first, most=2)
    await site.happen("a", "b", "c", "d")
    await until(lambda: len(first.told) == 2)

    async def noted() -> bool:
        return await site.cursor() == 4  # each is made, then canceled

    await until(noted)
    await site.stop()
    await site.rule(second, most=2)

    await until(lambda: len(second.told) == 2)
    assert first.subjects + second.subjects == canceled("a", "b", "c", "d")


async def test_who_is_put_off_holds_up_nobody_else(site: Site) -> None:
    diary = Diary()
    diary.troubles["b@x"] = [BusUnavailable("greylisted")] * 1000
    await site.rule(diary, email=["a@x", "b@x", "c@x"])
    await site.happen("one", "two")

    await until(lambda: len(diary.told) == 4 and len(diary.troubles["b@x"]) < 999)

    assert await site.cursor("r:b@x") == 0
    diary.troubles.clear()
    await until(lambda: len(diary.told) == 6)
    for who in ("a@x", "b@x", "c@x"):
        told = [note.subject for receiver, note in diary.told if receiver == who]
        assert told == canceled("one", "two")


async def test_who_is_never_taken_is_logged_and_left_out(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    diary = Diary()
    diary.troubles["a@x"] = [MessageRefused("550 no such person")]
    await site.rule(diary, email=["a@x", "b@x"])
    said = "a@x is not told of tesp: CANCELED: one: 550 no such person"
    with caplog.at_level(logging.WARNING):
        await site.happen("one")
        await until(lambda: diary.told and said in caplog.text)
        await site.happen("two")
        await until(lambda: len(diary.told) == 3)
    told = [(receiver, note.subject) for receiver, note in diary.told]
    assert sorted(told) == [
        ("a@x", *canceled("two")),
        ("b@x", *canceled("one")),
        ("b@x", *canceled("two")),
    ]


async def test_a_mail_server_that_is_away_loses_nothing_and_delays_nobody(
    site: Site, exim: EximServer
) -> None:
    diary = Diary()
    notifier = MailNotifier(MailServer("127.0.0.1", exim.port), "tesp@tes.example")
    await site.rule(notifier, "mail", email=["nobody@tes.example", "ops@tes.example"])
    await site.rule(diary, "other")
    exim.stop()
    await site.happen("one", "two")
    await until(lambda: len(diary.told) == 2)
    assert await site.cursor("mail:ops@tes.example") == 0
    await asyncio.to_thread(exim.start)

    mails = await asyncio.to_thread(exim.mails_when, 2)

    ids = [entry.event.id for entry in await site.store.read(0) if entry.event.state == "CANCELED"]
    assert {mail["Message-ID"] for mail in mails} == {f"<{one}@tes.example>" for one in ids}
    assert {mail["Envelope-to"] for mail in mails} == {"ops@tes.example"}
