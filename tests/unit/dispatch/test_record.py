"""What is stored of an attempt while others write as well."""

from pathlib import Path

import pytest

from tesp.dispatch.lease import Lease
from tesp.dispatch.record import Record, Superseded
from tesp.store import Cancel, NewTask, Phase
from tesp.store.sqlite import SqliteStore
from tesp.tes.views import Text

BODY = Text('"executors":[{"image":"i","command":["true"]}],"creation_time":"2026-01-01T00:00:00Z"')


async def test_no_phase_is_begun_of_a_task_that_is_being_canceled(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "t.sqlite")
    task_id = await store.create(NewTask("t", "ann", BODY))
    claim = await store.claim(task_id, "b", "me", 60.0)
    assert claim
    record = Record(claim, Lease(claim.fence, float("inf")), store)
    assert await store.cancel(task_id) is Cancel.ASKED
    with pytest.raises(Superseded, match="CANCELING"):
        await record.advance(Phase.SUBMITTING)
    await store.close()
