"""What the job's side has to fetch: every file of every input, with the URL that gives it."""

from collections.abc import Sequence

from tesp.errors import AccessRefused, SourceMissing
from tesp.runner.plan import Fetch
from tesp.staging import Download, Entry, FileType
from tesp.staging.keys import Keys
from tesp.staging.storages import Storages
from tesp.staging.urls import escapes, shown


async def fetches_of(
    storages: Storages, downloads: Sequence[Download], keys: Keys, task_id: str, number: int
) -> tuple[list[Fetch], dict[str, FileType]]:
    """The files to fetch, and the type that each input turned out to have, by its field."""
    fetches: list[Fetch] = []
    types: dict[str, FileType] = {}
    for download in downloads:
        index = int(download.field.removeprefix("inputs[").removesuffix("]"))
        entries = await _entries(storages, download)
        types[download.field] = "DIRECTORY" if entries else "FILE"
        if not entries:
            fetches.append(Fetch(download.file, keys.input_url(task_id, number, index)))
        for entry in entries:
            url = keys.input_url(task_id, number, index, entry.name)
            fetches.append(Fetch(f"{download.file}/{entry.name}", url))
    return fetches, types


async def _entries(storages: Storages, download: Download) -> list[Entry]:
    if download.content is not None or download.type != "DIRECTORY":
        return []
    url = download.url or ""
    entries = [entry async for entry in storages.of(url).list(url)]
    if not entries:
        raise SourceMissing(f"{download.field}: {shown(url)}: nothing there, or an empty directory")
    for entry in entries:
        if escapes(entry.name):
            raise AccessRefused(f"{shown(url)}: it lists {entry.name!r}, outside of itself")
    return entries
