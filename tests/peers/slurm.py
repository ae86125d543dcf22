"""A real Slurm of the tests' own: controller and one node on 127.0.0.1, and Pulsars before it."""

import contextlib
import dataclasses
import getpass
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.peers.environments import program
from tests.peers.pulsar import ENVIRONMENT, PulsarServer
from tests.peers.pulsar_amqp import AmqpPulsarServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import PeerError, Room, answers, free_port, stands, wait_until
from tests.peers.slurm_daemons import descendants

_DAEMONS = Path(__file__).with_name("slurm_daemons.py")
_DAEMON_LINES = ("slurmctld ", "slurmd ", ": slurmscriptd")
_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
# Longer than a runner needs to end its container, shorter than a test's patience.
KILL_WAIT_SECONDS = 10
CPUS = 4
MEMORY_MB = 4096
# How long Pulsar's clients wait for a controller that does not answer.
_IMPATIENT = "MessageTimeout=3"
# Who reaches its ports may use it: they are those of this machine alone.
_SETTINGS = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
KillWait={kill_wait}
MessageTimeout=3
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory}
PartitionName=small Nodes=node MaxTime=INFINITE State=UP Default=YES
PartitionName=big Nodes=node MaxTime=INFINITE State=UP
"""


@dataclasses.dataclass(frozen=True)
class SlurmCluster:
    """`configuration` is for SLURM_CONF. Its jobs are known by their names."""

    configuration: str
    directory: str
    owner: int

    @classmethod
    def boot(cls, room: Room) -> Self:
        """Start it, and wait until its node takes jobs."""
        cluster = cls(str(room.directory / "slurm.conf"), str(room.directory), room.owner)
        for name in ("state", "spool"):
            (room.directory / name).mkdir()
        said = _settings(room.directory)
        Path(cluster.configuration).write_text(said)
        cluster._patient.write_text(said.replace(_IMPATIENT, "MessageTimeout=60"))
        argv = [sys.executable, _DAEMONS, "node", cluster._pid_file]
        room.start("slurm", argv, cluster.environment)
        room.wait_until(cluster._is_idle, "Slurm's node takes jobs")
        return cluster

    @property
    def environment(self) -> dict[str, str]:
        """What its clients need."""
        return {"SLURM_CONF": self.configuration}

    def command(self, *argv: str, check: bool = True) -> str:
        """Run one of its clients (sbatch, squeue, scancel, scontrol); its output, stripped."""
        done = subprocess.run(
            argv,
            env={"PATH": _PATH, "SLURM_CONF": str(self._patient)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if check and done.returncode:
            raise AssertionError(f"{argv[0]} ended with {done.returncode}: {done.stderr}")
        return done.stdout.strip()

    def queue(self) -> dict[str, str]:
        """Name -> state (PENDING, RUNNING, COMPLETING) of the jobs that have not ended."""
        rows = self.command("squeue", "--all", "--noheader", "--format=%j %T").splitlines()
        return {name: state for name, _, state in (row.rpartition(" ") for row in rows)}

    def facts(self, name: str) -> dict[str, str]:
        """What the controller says of a job: JobId, Partition, NumCPUs, MinMemoryNode, ..."""
        said = self.command("scontrol", "--oneliner", "show", "job", self._number(name))
        return {key: value for key, _, value in (word.partition("=") for word in said.split())}

    def kill(self, name: str) -> None:
        """End all processes of a job at one stroke, as a node does that goes out."""
        mark = f"SLURM_JOB_ID={self._number(name)}"
        doomed = set[int]()
        # None of them is to see how another ends, and none to be forked that is not seen.
        while new := self._marked(mark) - doomed:
            _signal(new, signal.SIGSTOP)
            wait_until(lambda: all(map(stands, new)), f"the processes of {name} stand still")
            doomed |= new
        _signal(doomed, signal.SIGKILL)

    def end(self, name: str) -> None:
        """End a job as an operator does, or a partition's time limit."""
        self.command("scancel", self._number(name))

    def processes(self) -> list[str]:
        """The command lines of all that jobs have running, or have left running."""
        lines = [_text(pid, "cmdline").replace("\0", " ").strip() for pid in self._below()]
        return [line for line in lines if line and not line.startswith(_DAEMON_LINES)]

    def wait_until_idle(self) -> None:
        """Wait until no job is known, and nothing that any job started runs."""
        try:
            wait_until(lambda: not self.queue() and not self.processes(), "Slurm is idle")
        except PeerError as error:
            raise PeerError(f"{error}: {self.queue()}, {self.processes()}") from None

    def requeue(self, name: str) -> None:
        """End a job and put it back into the queue, as Slurm does by itself where a node fails."""
        self.command("scontrol", "requeue", self._number(name))

    @contextlib.contextmanager
    def suspended(self, name: str) -> Iterator[None]:
        """A job stands still for as long as the context lasts."""
        number = self._number(name)
        self.command("scontrol", "suspend", number)
        try:
            yield
        finally:
            self.command("scontrol", "resume", number)

    @contextlib.contextmanager
    def out_of_reach(self) -> Iterator[None]:
        """The controller answers nobody for as long as the context lasts; jobs go on."""
        controller = int((Path(self.directory) / "slurmctld.pid").read_text())
        os.kill(controller, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(controller, signal.SIGCONT)

    @contextlib.contextmanager
    def occupied(self) -> Iterator[None]:
        """Others hold the whole node for as long as the context lasts."""
        whole = [f"--cpus-per-task={CPUS}", f"--mem={MEMORY_MB}M", "--output=/dev/null"]
        self.command("sbatch", "--job-name=others", *whole, "--wrap=exec sleep infinity")
        wait_until(lambda: self.queue().get("others") == "RUNNING", "others hold the node")
        try:
            yield
        finally:
            self.command("scancel", "--name=others")

    @property
    def _patient(self) -> Path:
        """For the tests' own clients: a controller that is slow has not failed them."""
        return Path(self.directory) / "patient.conf"

    @property
    def _pid_file(self) -> Path:
        return Path(self.directory) / "daemons.pid"

    def _below(self) -> set[int]:
        """The daemons, and all that they have started."""
        return descendants(int(self._pid_file.read_text()))

    def _marked(self, mark: str) -> set[int]:
        """The processes with this in their environment, and all that they have started."""
        own = {pid for pid in self._below() if mark in _text(pid, "environ").split("\0")}
        return own.union(*map(descendants, own))

    def _number(self, name: str) -> str:
        found = self.command("squeue", "--all", "--noheader", "--format=%A", f"--name={name}")
        assert found, f"Slurm knows no job {name}"
        return found

    def _is_idle(self) -> bool:
        return "idle" in self.command("sinfo", "--noheader", "--format=%t", check=False)


def _text(pid: int, file: str) -> str:
    """What /proc tells of a process; nothing of one that has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{file}").read_text(errors="replace")
    return ""


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _settings(directory: Path) -> str:
    return _SETTINGS.format(
        directory=directory,
        host=platform.node().partition(".")[0],
        user=getpass.getuser(),
        controller_port=free_port(),
        node_port=free_port(),
        kill_wait=KILL_WAIT_SECONDS,
        cpus=CPUS,
        memory=MEMORY_MB,
    )


class SlurmPulsar(PulsarServer):
    """A Pulsar with managers `small` (1 processor, 512 MB) and `big` (3, 2048 MB, never requeued),
    which are partitions of a Slurm, and `_default_`, which is this machine."""

    @classmethod
    def before(cls, cluster: SlurmCluster, room: Room) -> Self:
        """Start it."""
        _knows(room, cluster)
        managers = {"_default_": {"type": "queued_python"}, **_PARTITIONS}
        return cls.made(room, managers=managers).started()

    @property
    def keys(self) -> dict[str, Any]:
        """The settings of a tesp that uses it."""
        reached = {"url": self.url, "token": self.token}
        return {**reached, "control_manager": "_default_", "classes": _classes("")}

    def started(self) -> Self:
        """Start it over the directories that are there."""
        environment = {"PULSAR_CONFIG_DIR": self.directory, **_environment(self)}
        ini = Path(self.directory) / "server.ini"
        self._room.start("pulsar", [program(ENVIRONMENT, "pulsar-serve"), ini], environment)
        self._room.wait_until(lambda: answers(self.port), "Pulsar answers")
        return self


class AmqpSlurmPulsar(AmqpPulsarServer):
    """The same over AMQP: its managers have names, and so queues, of their own."""

    @classmethod
    def before(
        cls, cluster: SlurmCluster, room: Room, broker: RabbitmqServer, *, hybrid: bool = False
    ) -> Self:
        """Start it."""
        _knows(room, cluster)
        return cls.over(room, broker, hybrid=hybrid, beside=_PARTITIONS)

    @property
    def keys(self) -> dict[str, Any]:
        """The settings of a tesp that uses it."""
        reached = {"amqp_url": self.broker.url, "control_manager": self.manager}
        if self.hybrid:
            reached |= {"url": self.url, "token": self.token}
        return {**reached, "classes": _classes(self.manager)}

    @property
    def environment(self) -> dict[str, str]:
        """What is set for it, and for what it starts."""
        return super().environment | _environment(self)


class SlurmJobs:
    """The jobs of such a Pulsar, by their names in Slurm."""

    def __init__(self, pulsar: PulsarServer) -> None:
        self._pulsar = pulsar

    def seen_inside(self, name: str, *facts: str) -> tuple[str, ...]:
        """What a job has found out of itself: galaxy_slots, ..."""
        metadata = self._place(name) / "metadata"
        return tuple((metadata / f"__instrument_core_{fact}").read_text().strip() for fact in facts)

    def one_is_starting(self) -> bool:
        """Whether it has begun to put a job into the queue."""
        return any(
            (place / "command.sh").exists() and not (place / "preprocessed").exists()
            for place in self._pulsar.staging.iterdir()
        )

    def holds(self, name: str) -> bool:
        """Whether Pulsar knows the number that a job got in Slurm, and asks for it."""
        return (self._place(name) / "preprocessed").exists()

    def gave_up(self, name: str) -> bool:
        """Whether Pulsar takes a job for ended."""
        place = self._place(name)
        return (place / "final_status").exists() or not place.exists()

    def _place(self, name: str) -> Path:
        return self._pulsar.staging / name.removeprefix("pulsar_")


def _knows(room: Room, cluster: SlurmCluster) -> None:
    room.directory.mkdir(exist_ok=True)
    (room.directory / "slurm.conf").symlink_to(cluster.configuration)


def _environment(pulsar: PulsarServer) -> dict[str, str]:
    # Without the second, jobs get all that the service has in its environment.
    return {"SLURM_CONF": f"{pulsar.directory}/slurm.conf", "SBATCH_EXPORT": "NONE"}


def _classes(prefix: str) -> list[dict[str, Any]]:
    return [
        {"manager": f"{prefix}small", "cpus": 1, "ram_gb": 0.512},
        {"manager": f"{prefix}big", "cpus": 3, "ram_gb": 2.048},
    ]


def _partition(name: str, cpus: int, memory: str) -> dict[str, Any]:
    return {
        "type": "queued_cli",
        "job_plugin": "Slurm",
        "job_partition": name,
        "job_ncpus": cpus,
        "job_--mem": memory,
    }


_PARTITIONS = {
    "small": _partition("small", 1, "512M"),
    "big": {**_partition("big", 3, "2048M"), "job_--no-requeue": ""},
}
