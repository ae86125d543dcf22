"""What an ingress remembers, on disk."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tesp.errors import BusError
from tesp.ingress.memory import Memory


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "inner" / "memory.sqlite"


@pytest.fixture
def memory(file: Path) -> Iterator[Memory]:
    one = Memory(file, most_waiting=3)
    yield one
    one.close()


def test_what_was_seen_is_known(memory: Memory) -> None:
    assert not memory.knows("a")
    memory.remember(["a", "b", "a"], 1.0)
    assert [memory.knows(one) for one in "abc"] == [True, True, False]


def test_what_is_kept_waits_in_its_order_until_it_is_delivered(memory: Memory) -> None:
    assert memory.keep("b", b"1", True, 1.0)
    assert memory.keep("a", b"2", False, 1.0)
    assert memory.oldest() == ("b", b"1", True)
    memory.delivered("b")
    assert memory.oldest() == ("a", b"2", False)
    memory.delivered("a")
    assert memory.oldest() is None
    assert not memory.keep("a", b"2", False, 2.0)


def test_no_more_wait_than_the_disk_can_bear(memory: Memory) -> None:
    for name in "abc":
        memory.keep(name, b"", False, 1.0)
    with pytest.raises(BusError, match="3 events wait"):
        memory.keep("d", b"", False, 1.0)
    # It was refused, not seen: it may come again later.
    memory.delivered("a")
    assert memory.keep("d", b"", False, 1.0)


def test_what_is_old_is_forgotten_and_what_waits_is_not(memory: Memory) -> None:
    memory.remember(["old"], 1.0)
    memory.remember(["new"], 9.0)
    memory.keep("waits", b"1", False, 1.0)
    memory.count("mail", (1, 1, 0, 0), 1.0)
    memory.forget(5.0)
    assert (memory.knows("old"), memory.knows("new")) == (False, True)
    assert memory.oldest() == ("waits", b"1", False)
    assert memory.counts() == []


def test_who_is_killed_has_kept_what_it_promised(file: Path) -> None:
    program = (
        "import os, sys, pathlib; from tesp.ingress.memory import Memory; "
        "m = Memory(pathlib.Path(sys.argv[1])); m.keep('a', b'1', False, 1.0); "
        "m.remember(['b'], 1.0); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, file], check=False)
    assert ended.returncode == -signal.SIGKILL
    memory = Memory(file)
    assert memory.oldest() == ("a", b"1", False)
    assert memory.knows("b")
    memory.close()


def test_a_file_that_is_none_of_ours_is_said_to_be_of_no_use(tmp_path: Path) -> None:
    file = tmp_path / "memory.sqlite"
    file.write_bytes(b"something else" * 1000)
    with pytest.raises(BusError, match="of no use"):
        Memory(file)
