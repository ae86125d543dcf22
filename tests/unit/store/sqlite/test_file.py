"""The file: who may open it, where it may lie, and what is in it."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tesp.errors import Conflict, SettingsError, StoreError, StoreLocked
from tesp.store import Change, IdempotencyKey, NewTask
from tesp.store.sqlite import SqliteStore
from tesp.store.sqlite.ownership import filesystem_of
from tesp.store.sqlite.schema import SCHEMA, open_reader, open_writer
from tesp.tes.identifiers import new_task_id
from tesp.tes.states import Transition
from tesp.tes.views import Text

# Files as earlier schemas made them, with one task that is queued.
EARLIER = [Path(__file__).parent / f"schema_{number}.sql" for number in range(1, SCHEMA)]
MOUNTS = r"""
22 28 0:21 / /proc rw,nosuid - proc proc rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 28 0:40 / /home rw - nfs4 server:/home rw,vers=4.2
41 40 254:1 / /home/fast rw - xfs /dev/vdb rw
42 28 0:42 / /mnt/with\040space rw shared:9 master:1 - fuse.sshfs me@host: rw
43 28 0:43 / /scratch rw - ext4 /dev/vdc rw
44 43 0:44 / /scratch rw - lustre mgs:/fs rw
""".strip()


def a_task(**fields: object) -> NewTask:
    return NewTask(new_task_id(), "ann", Text('"executors":[]'), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/srv/data", "ext4"),
        ("/home/me/data", "nfs4"),
        ("/homes", "ext4"),
        ("/home/fast/data", "xfs"),
        ("/mnt/with space/x", "fuse.sshfs"),
        ("/scratch/x", "lustre"),
    ],
)
def test_the_file_system_of_a_path_is_that_of_its_nearest_mount(path: str, kind: str) -> None:
    assert filesystem_of(Path(path), MOUNTS) == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "lustre", "gpfs"])
async def test_a_network_file_system_is_refused_with_the_mend(tmp_path: Path, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"28 1 254:0 / / rw shared:1 - {kind} somewhere rw\n")

    with pytest.raises(SettingsError) as caught:
        await SqliteStore.open(tmp_path / "data" / "t.sqlite", mounts=mounts)

    assert str(tmp_path / "data") in str(caught.value)
    assert "mongodb" in str(caught.value)
    assert not list((tmp_path / "data").iterdir())


async def test_a_link_to_a_network_file_system_is_refused(tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    (tmp_path / "link").symlink_to("remote")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "28 1 254:0 / / rw - ext4 /dev/vda rw\n"
        f"29 28 0:1 / {tmp_path}/remote rw - nfs server:/x rw\n"
    )

    with pytest.raises(SettingsError):
        await SqliteStore.open(tmp_path / "link" / "t.sqlite", mounts=mounts)


async def test_a_second_opening_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    first = await SqliteStore.open(tmp_path / "t.sqlite")
    with pytest.raises(StoreLocked, match=r"t\.sqlite is in use by another process \(pid \d+\)"):
        await SqliteStore.open(tmp_path / "t.sqlite")

    await first.close()
    await first.close()

    second = await SqliteStore.open(tmp_path / "t.sqlite")
    await second.close()


OPENER = """
import asyncio, sys
from pathlib import Path
from tesp.errors import StoreLocked
from tesp.store.sqlite import SqliteStore
try:
    asyncio.run(SqliteStore.open(Path(sys.argv[1])))
except StoreLocked as error:
    print(error)
"""


async def test_another_process_is_refused(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "t.sqlite")
    said = subprocess.run(  # noqa: ASYNC221 - nothing else goes on here
        [sys.executable, "-c", OPENER, tmp_path / "t.sqlite"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    await store.close()

    assert "in use by another process" in said.stdout


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "t.sqlite"
    await (await SqliteStore.open(file)).close()
    with sqlite3.connect(file) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    db.close()

    for _ in range(2):  # the second opening shows that the first let go of the file
        with pytest.raises(StoreError, match="newer tesp"):
            await SqliteStore.open(file)

    with sqlite3.connect(file) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA + 1,)
    db.close()


@pytest.mark.parametrize("schema", EARLIER, ids=lambda path: path.stem)
async def test_a_file_of_an_earlier_schema_is_taken_over_as_it_is(
    tmp_path: Path, schema: Path
) -> None:
    file = tmp_path / "t.sqlite"
    with sqlite3.connect(file) as db:
        db.executescript(schema.read_text())
    db.close()

    store = await SqliteStore.open(file)
    candidates = await store.queued(10)
    claim = await store.claim("old", "local", "me", 60)
    await store.remark("old", 1, "said")
    remarks, secret = await store.remarks("old", 1), await store.secret("files")
    await store.close()
    again = await SqliteStore.open(file)
    kept = await again.secret("files")
    await again.close()

    assert [(c.task_id, c.tags) for c in candidates] == [("old", {"site": "north"})]
    assert claim is not None
    assert claim.body.full == '"executors":[]'
    assert (remarks, kept) == (["said"], secret)


@pytest.mark.parametrize("schema", EARLIER, ids=lambda path: path.stem)
async def test_the_events_of_an_earlier_schema_have_their_task_as_correlation(
    tmp_path: Path, schema: Path
) -> None:
    file = tmp_path / "t.sqlite"
    with sqlite3.connect(file) as db:
        db.executescript(schema.read_text())
    db.close()

    store = await SqliteStore.open(file)
    await store.cancel("old")
    events = await store.history("old")
    await store.close()

    assert [(e.state, e.correlation, e.hops, e.callback) for e in events][-1] == (
        "CANCELED",
        "old",
        0,
        None,
    )


@pytest.mark.parametrize("schema", EARLIER, ids=lambda path: path.stem)
def test_a_file_that_was_taken_over_is_as_a_new_one(tmp_path: Path, schema: Path) -> None:
    old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    with sqlite3.connect(old) as db:
        db.executescript(schema.read_text())
    db.close()

    shapes = []
    for file in (old, new):
        db = open_writer(file)
        rows = db.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
        shapes.append((rows, db.execute("PRAGMA user_version").fetchone()))
        db.close()

    assert shapes[0] == shapes[1]


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.sqlite"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE tasks (a)")
    db.close()

    with pytest.raises(StoreError, match="another program"):
        await SqliteStore.open(file)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.sqlite"
    file.write_text("not a database" * 100)

    with pytest.raises(StoreError, match=r"t\.sqlite"):
        await SqliteStore.open(file)

    assert file.read_text().startswith("not a database")


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    connection = open_writer(tmp_path / "t.sqlite")

    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    connection.close()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "t.sqlite")
    reader = open_reader(tmp_path / "t.sqlite")

    with pytest.raises(sqlite3.OperationalError):
        reader.execute("DELETE FROM tasks")
    reader.close()
    writer.close()


async def test_a_path_with_signs_of_an_address_is_a_path(tmp_path: Path) -> None:
    file = tmp_path / "a b?mode=memory#c%41é" / "t.sqlite"

    await (await SqliteStore.open(file)).close()

    assert file.exists()


async def test_a_closed_store_says_that_it_is_closed(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "t.sqlite")
    await store.close()

    with pytest.raises(StoreError, match="closed"):
        await store.create(a_task())
    with pytest.raises(StoreError, match="closed"):
        await store.history("x")


async def test_a_lease_that_had_long_to_run_is_over_when_the_file_is_opened_again(
    tmp_path: Path,
) -> None:
    store = await SqliteStore.open(tmp_path / "t.sqlite")
    claim = await store.claim(await store.create(a_task()), "local", "me", 3600)
    assert claim is not None
    assert await store.hold("relay", "me", 3600)
    await store.close()

    store = await SqliteStore.open(tmp_path / "t.sqlite")
    (renewal,) = await store.renew([claim.fence], 60)
    written = await store.write(claim.fence, Change(Transition.START))
    (adopted,) = await store.adopt(["local"], "other", 3600)
    held = await store.hold("relay", "other", 3600)
    await store.close()

    assert renewal.lost
    assert written.lost
    assert adopted.fence.epoch == claim.fence.epoch + 1
    assert held


async def test_an_idempotency_key_is_forgotten_after_a_day_and_not_before(tmp_path: Path) -> None:
    now = [1e9]
    store = await SqliteStore.open(tmp_path / "t.sqlite", clock=lambda: now[0])
    key = IdempotencyKey("k", "one")
    first = await store.create(a_task(idempotency=key))
    now[0] += 24 * 3600 - 1
    again = await store.create(a_task(idempotency=key))
    with pytest.raises(Conflict):
        await store.create(a_task(idempotency=IdempotencyKey("k", "two")))
    now[0] += 2

    later = await store.create(a_task(idempotency=IdempotencyKey("k", "two")))
    await store.close()

    assert again == first != later
