"""The store: a directory for SQLite, or a MongoDB."""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tesp.cli.doctor.findings import Finding, fail, ok, warn
from tesp.cli.terminal import size_text
from tesp.errors import SettingsError
from tesp.settings import Settings
from tesp.store.sqlite.ownership import refuse_network

_LOW_BYTES = 1_000_000_000
_TOO_LOW_BYTES = 50_000_000
_ANSWER_MILLISECONDS = 5000


async def store_findings(settings: Settings) -> Sequence[Finding]:
    """The data directory, its disk, and MongoDB where that is the store."""
    findings = [writable_finding("data directory", settings.data_dir), disk_finding(settings)]
    if settings.store.kind == "sqlite":
        return [*findings, network_finding(settings.data_dir)]
    return [*findings, *await mongodb_findings(settings)]


def nearest(path: Path) -> Path:
    """The path itself, or the deepest directory above it that exists."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def writable_finding(what: str, directory: Path) -> Finding:
    """Whether files can be made there; a directory to come is judged by the one above."""
    place = nearest(directory)
    mend = f"Make {directory} a directory that this user may write to."
    if not place.is_dir():
        return fail(what, f"{place} is not a directory", mend)
    try:
        # A file is really made: mounts that are read-only let access(2) pass for root.
        with tempfile.NamedTemporaryFile(dir=place, prefix=".tesp-doctor-"):
            pass
    except OSError as error:
        return fail(what, f"{directory}: {error.strerror}", mend)
    return ok(what, f"{directory}" + ("" if place == directory.absolute() else " (to be made)"))


def disk_finding(settings: Settings) -> Finding:
    """Room for staged files."""
    what, place = "disk", nearest(settings.data_dir)
    free = shutil.disk_usage(place).free
    found = f"{size_text(free)} free"
    mend = f"Free some disk at {place}, or choose another data directory with --data."
    if free < _TOO_LOW_BYTES:
        return fail(what, found, mend)
    return warn(what, found, mend) if free < _LOW_BYTES else ok(what, found)


def network_finding(directory: Path) -> Finding:
    """SQLite loses tasks where locks and shared memory are not to be trusted."""
    what = "store sqlite"
    try:
        refuse_network(nearest(directory))
    except SettingsError as error:
        return fail(what, str(error), "Choose a local directory, or store.kind = mongodb.")
    running = "" if not (directory / "tesp.db").exists() else ", with tasks in it"
    return ok(what, f"on a local file system{running}")


async def mongodb_findings(settings: Settings) -> Sequence[Finding]:
    """Whether it answers, and whether it can do transactions and change streams."""
    return await asyncio.to_thread(_ask_mongodb, settings)


def _ask_mongodb(settings: Settings) -> Sequence[Finding]:
    import pymongo
    from pymongo.errors import PyMongoError

    what = "store mongodb"
    uri = settings.store.mongodb_uri.get_secret_value()
    try:
        with pymongo.MongoClient[dict[str, Any]](
            uri, serverSelectionTimeoutMS=_ANSWER_MILLISECONDS
        ) as client:
            hello = client.admin.command("hello")
            client[settings.store.database].command("listCollections", nameOnly=True)
            version = client.server_info().get("version", "")
            peers = ", ".join(f"{h}:{p}" for h, p in sorted(client.nodes))
    except (PyMongoError, ValueError) as error:
        # The error may cite the URI, and that holds the password.
        reason = str(error).split(", Timeout:")[0].replace(uri, "the URI")
        mend = "Start MongoDB there, or set store.mongodb_uri (TESP_STORE__MONGODB_URI)."
        return [fail(what, reason[:300], mend)]
    return [ok(what, f"{peers} {version}".strip()), _replica_finding(hello)]


def _replica_finding(hello: dict[str, Any]) -> Finding:
    name = hello.get("setName") or ("mongos" if hello.get("msg") == "isdbgrid" else "")
    if name:
        return ok("replica set", str(name))
    return warn(
        "replica set",
        "a single server: new tasks are found by polling",
        "Start mongod with --replSet and run rs.initiate(): one node is enough.",
    )
