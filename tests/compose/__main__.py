"""`python -m tests.compose [PROFILE...]`: builds every image of the stack, starts each profile on
an engine of its own, runs tasks through it, and looks at what came of them.

As root, with docker.io, docker-compose, mmdebstrap and curl. What is built is kept in .cache.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.compose import images, trials
from tests.compose.engine import Engine
from tests.compose.stack import ROOT, STAND_INS, Stack
from tests.peers.room import Room

_TRIALS: dict[str, Callable[[Engine, Stack, Stack], None]] = {
    "docker": trials.tasks_run_beside_the_service,
    "pulsar": trials.tasks_run_on_a_pulsar_over_rest,
    "amqp": trials.tasks_run_on_a_pulsar_over_amqp,
    "mqtt": trials.the_broker_is_guarded,
    "dev": trials.a_change_starts_it_anew,
}


def main() -> None:
    """Try what is asked for, or all."""
    asked = sys.argv[1:] or list(_TRIALS)
    with Room.temporary() as room:
        # A path of its own: the engine mounts the stack's data from there.
        engine = Engine(Room(room.directory / "engine", room.owner), _kept())
        stack, transfers = _stacks(engine, room.directory)
        with _timed("images are built"):
            engine.build()
            images.make(engine, room.directory)
            stack.compose("build", "api", "dev", "pulsar", profiles=("dev", "pulsar"))
            transfers.compose("build", "http")
        engine.run()
        for name in asked:
            with _timed(f"{name}: {_TRIALS[name].__name__.replace('_', ' ')}"):
                _TRIALS[name](engine, stack, transfers)


def _stacks(engine: Engine, room: Path) -> tuple[Stack, Stack]:
    settings = room / "settings.toml"
    settings.write_text(trials.with_storage((ROOT / "docker/tesp/settings.toml").read_text()))
    files = [ROOT / "docker-compose.yaml", STAND_INS]
    return (
        Stack(engine, room, "tesp", files, SETTINGS_FILE=str(settings)),
        Stack(engine, room, "dts", [ROOT / "docker/dts/docker-compose.yaml"]),
    )


def _kept() -> Path:
    kept = ROOT / ".cache" / "compose"
    kept.mkdir(parents=True, exist_ok=True)
    return kept


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    print(f"{what} ({time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
