"""The connection: durable writes, committed reads, one tree of errors."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from beanie import Document, init_beanie
from bson.errors import BSONError
from pymongo import AsyncMongoClient, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConnectionFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.uri_parser import parse_uri

from tesp.errors import StoreError
from tesp.store.mongo import documents

T = TypeVar("T")

Raw = AsyncCollection[dict[str, Any]]

# Within `timeoutms` the driver finds a server, sends, and sends again after a lost connection.
_OPTIONS = {"timeoutms": 20_000, "serverselectiontimeoutms": 10_000, "appname": "tesp"}


@dataclass(frozen=True, slots=True)
class Collections:
    """The documents of one database, through Beanie."""

    client: AsyncMongoClient[dict[str, Any]]
    tasks: type[Document]
    leases: type[Document]
    holds: type[Document]
    tails: type[Document]
    texts: type[Document]
    log: type[Document]
    secrets: type[Document]
    cursors: type[Document]
    readings: type[Document]


def raw(document: type[Document]) -> Raw:
    """The collection under a document, for what Beanie has no word for."""
    return document.get_pymongo_collection()


async def connect(uri: str, database: str) -> Collections:
    """Connect, and make the indexes that are missing; raises StoreError where that fails."""
    try:
        client = AsyncMongoClient[dict[str, Any]](uri, **_defaults(uri))
    except (PyMongoError, ValueError) as error:
        raise StoreError(f"store.mongodb_uri cannot be used: {error}") from error
    try:
        await _require_replica_set(client)
        return await _bind(client, database)
    except PyMongoError as error:
        await client.close()
        raise as_store_error(error) from error
    except BaseException:
        await client.close()
        raise


def _defaults(uri: str) -> dict[str, Any]:
    given = {name.lower() for name in parse_uri(uri, validate=False)["options"]}
    return {name: value for name, value in _OPTIONS.items() if name not in given}


async def _require_replica_set(client: AsyncMongoClient[dict[str, Any]]) -> None:
    hello = await client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise StoreError(
            "MongoDB runs without a replica set, so it cannot keep what tesp needs kept:"
            " start mongod with --replSet and call rs.initiate(); one node will do"
        )


async def _bind(client: AsyncMongoClient[dict[str, Any]], name: str) -> Collections:
    # An acknowledged write is on the disks of a majority, and only such writes are read.
    database: AsyncDatabase[dict[str, Any]] = client.get_database(
        name,
        write_concern=WriteConcern("majority", j=True),
        read_concern=ReadConcern("majority"),
        read_preference=ReadPreference.PRIMARY,
    )
    shapes = (
        documents.TaskShape,
        documents.LeaseShape,
        documents.HoldShape,
        documents.TailShape,
        documents.TextShape,
        documents.LogShape,
        documents.SecretShape,
        documents.CursorShape,
        documents.ReadingShape,
    )
    models = [documents.bound(shape) for shape in shapes]
    await init_beanie(database=database, document_models=models)
    return Collections(client, *models)


def as_store_error(error: Exception) -> StoreError:
    """What a caller gets to see of an error under the store."""
    if isinstance(error, ConnectionFailure):
        return StoreError(f"MongoDB is out of reach: {error}")
    return StoreError(f"MongoDB refused: {error}")


class Errands:
    """Work that is carried to its end though the caller goes away.

    A write that takes two steps is not torn between them by a cancelled caller, and the
    driver need not drop the connection. Errors under the store come out as StoreError.
    """

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work gives; a caller who is cancelled is let go at once."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except (PyMongoError, BSONError, UnicodeEncodeError, OverflowError) as error:
            raise as_store_error(error) from error

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            # Looked at, so that the loop does not complain where the caller has gone.
            task.exception()

    async def finish(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
