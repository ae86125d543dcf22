"""`tesp agent publisher`: publish outputs of finished tasks."""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from tesp.cli.agent.desk import Flags, Who, keeping_site, notebook_file
from tesp.cli.bus.site import BrokerName, CaFile, Host, Prefix, Site
from tesp.cli.configuration import DataDir, SettingsFile
from tesp.errors import SettingsError

if TYPE_CHECKING:
    from tesp.bus import Bus
    from tesp.staging.storages import Storages


def publisher(
    who: Who = "publisher",
    host: Host = None,
    broker: BrokerName = None,
    ca_file: CaFile = None,
    prefix: Prefix = None,
    data: DataDir = None,
    settings_file: SettingsFile = None,
) -> None:
    """Publish outputs of finished tasks by the rules of the settings, and tell of it.

    Example: tesp agent publisher --settings settings.toml
    """
    from tesp.staging.storages import Storages

    there = keeping_site(Flags(settings_file, data, host, broker, ca_file, prefix), who)
    storages = Storages(there.settings.staging)
    _check(there, storages)

    async def work(bus: "Bus") -> None:
        await _run(there, who, bus, storages)

    there.run(work)


async def _run(there: Site, who: str, bus: "Bus", storages: "Storages") -> None:
    from tesp import __version__
    from tesp.agents.agent import until_signalled
    from tesp.agents.notebook import Notebook
    from tesp.agents.posts import post_over
    from tesp.agents.publisher.announcements import Announcements
    from tesp.agents.publisher.publisher import Publisher
    from tesp.agents.publisher.records import SCHEMA
    from tesp.agents.publisher.service import TaskService
    from tesp.bus import brokers

    settings = there.settings.publisher
    announcements = Announcements(there.prefix, brokers.producer(there.settings.bus, __version__))
    file = notebook_file(there, who, settings.store)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(storages.close)
        notebook = await stack.enter_async_context(Notebook.opened(file, SCHEMA))
        service = TaskService(settings)
        stack.push_async_callback(service.close)
        post = post_over(bus, there.settings, who, there.prefix)
        await until_signalled(
            Publisher(who, post, bus, settings, announcements, storages, service, notebook)
        )


def _check(there: Site, storages: "Storages") -> None:
    """A place that could never be written to stops the start."""
    from tesp.errors import UnsupportedUrl

    rules = there.settings.publisher.rules
    if not rules:
        raise SettingsError(
            "publisher.rules: there are none, so that nothing would be published; "
            "docs/agents.md shows one"
        )
    for number, rule in enumerate(rules):
        try:
            storages.check(f"{rule.to}/x", writing=True)
        except UnsupportedUrl as error:
            raise SettingsError(f"publisher.rules.{number}.to: {error}") from error
