"""`tesp agent vocabulary`: serve terms, and hold messages against them."""

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tesp.cli.agent.desk import Flags, Who, keeping_site, notebook_file, plain_site
from tesp.cli.bus.site import BrokerName, CaFile, Host, Prefix, Site
from tesp.cli.codes import Code
from tesp.cli.configuration import DataDir, SettingsFile
from tesp.errors import SettingsError

if TYPE_CHECKING:
    from tesp.bus import Bus

Check = Annotated[
    Path | None,
    typer.Option(
        "--check", metavar="FILE", help="Hold the messages of this file (JSON) against the rules."
    ),
]
Topic = Annotated[
    str | None,
    typer.Option("-t", "--topic", help="With --check: theirs; without it all rules count."),
]


def vocabulary(
    check: Check = None,
    topic: Topic = None,
    who: Who = "vocabulary",
    host: Host = None,
    broker: BrokerName = None,
    ca_file: CaFile = None,
    prefix: Prefix = None,
    data: DataDir = None,
    settings_file: SettingsFile = None,
) -> None:
    """Serve the terms of the settings' files, and tell of messages that break the rules.

    Example: tesp agent vocabulary --check message.json
    """
    flags = Flags(settings_file, data, host, broker, ca_file, prefix)
    if check is not None:
        _check(plain_site(flags), check, topic)
        return
    there = keeping_site(flags, who)
    directory = _directory(there)

    async def work(bus: "Bus") -> None:
        from tesp.agents.agent import until_signalled
        from tesp.agents.notebook import Notebook
        from tesp.agents.posts import post_over
        from tesp.agents.vocabulary.vocabulary import SCHEMA, VocabularyAgent

        settings = there.settings.vocabulary
        async with AsyncExitStack() as stack:
            file = notebook_file(there, who, settings.store)
            notebook = await stack.enter_async_context(Notebook.opened(file, SCHEMA))
            post = post_over(bus, there.settings, who, there.prefix)
            place = (bus, there.prefix, settings, directory)
            await until_signalled(VocabularyAgent(who, post, *place, notebook))

    there.run(work)


def _directory(there: Site) -> Path:
    directory = there.settings.vocabulary.directory
    if directory is None:
        raise SettingsError("vocabulary.directory must be set: where the files of terms are")
    return directory


def _check(there: Site, file: Path, topic: str | None) -> None:
    """Say what is wrong with each message; ends with 2 where anything is."""
    from tesp.agents.vocabulary import breaches, terms
    from tesp.bus import filters

    rules = there.settings.vocabulary.rules
    if topic is not None:
        rules = tuple(rule for rule in rules if filters.matches(rule.topic, topic))
    if not rules:
        raise SettingsError("vocabulary.rules: there is none that these messages could break")
    known = terms.read(_directory(there))
    breaches.check(known, rules)
    found = [
        f"{file}{place}: {breach.sentence}"
        for place, message in _messages(file)
        for breach in breaches.breaches(known, rules, message)
    ]
    for sentence in dict.fromkeys(found):
        print(sentence)
    if found:
        raise typer.Exit(Code.REFUSED)


def _messages(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """The message of a file, or several, and where each of them stands."""
    from tesp.bus import tael
    from tesp.errors import MessageRefused

    try:
        document = json.loads(file.read_bytes())
        several = document if isinstance(document, list) else [document]
        found = [dict(tael.parsed(json.dumps(one).encode())) for one in several]
    except (OSError, ValueError, RecursionError, MessageRefused) as error:
        raise SettingsError(f"--check: {file} holds no message: {error}") from None
    places = [f"[{number}]" for number in range(len(found))] if len(found) > 1 else [""]
    return list(zip(places, found, strict=True))
