"""The images that public registries have, made on this machine out of Debian's packages.

What this machine needs to reach its package registries (certificates, configurations of pip and
apt) goes into the base alone, and nowhere else.
"""

import shutil
import ssl
import subprocess
import sys
from pathlib import Path

from tests.compose.engine import Engine
from tests.peers.docker_engine import busybox_image
from tests.peers.room import PeerError

BASE = "tesp-try/base"
DOCKER_CLI = "tesp-try/docker-cli"
STAND_INS = {name: f"tesp-try/{name}" for name in ("mongodb", "rabbitmq", "mosquitto")}
# What the tasks of the trial run in.
BUSYBOX = "busybox:latest"

_RECIPES = Path(__file__).with_name("images")
_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
_APT = Path("/etc/apt/apt.conf.d")
_SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources")


def make(engine: Engine, room: Path) -> None:
    """Make what the engine does not have yet."""
    if not engine.cli("images", "--quiet", BASE):
        engine.cli("import", _base(room), BASE)
    context = room / "context"
    context.mkdir(exist_ok=True)
    shutil.copy(_found("docker"), context / "docker")
    pins = Path(__file__).parents[1] / "peers" / "constraints" / "mongodb.txt"
    shutil.copy(pins, context)
    for name in (*STAND_INS, "docker-cli"):
        recipe = _RECIPES / f"{name}.Dockerfile"
        engine.cli(
            *("build", "--network", "host", "--tag", f"tesp-try/{name}", "--file", recipe, context)
        )
    engine.cli("import", "--change", 'CMD ["/bin/sh"]', "-", BUSYBOX, stdin=busybox_image())


def _base(room: Path) -> Path:
    """A tar of a Debian like this one, with Python, and this machine's way to its registries."""
    extra, tar = room / "extra", room / "base.tar"
    (extra / "etc").mkdir(parents=True)
    (extra / "etc" / "pip.conf").write_text(_pip_configuration())
    if certificates := ssl.get_default_verify_paths().cafile:
        (extra / "etc" / "ssl" / "certs").mkdir(parents=True)
        shutil.copy(certificates, extra / "etc" / "ssl" / "certs" / "ca-certificates.crt")
    (room / "apt.conf").write_text(_apt_configuration())
    release = _said("sh", "-c", '. /etc/os-release; echo "$VERSION_CODENAME"').strip()
    sources = [s for s in _SOURCES if Path(s).exists() and Path(s).stat().st_size]
    _said(
        *(_found("mmdebstrap"), "--quiet", "--variant=minbase", f"--include={_PACKAGES}"),
        *(f"--aptopt={room}/apt.conf", f"--customize-hook=sync-in {extra} /"),
        *(release, str(tar), *sources),
    )
    return tar


def _pip_configuration() -> str:
    """What pip is told on this machine, by files and variables; directories stay here."""
    listed = _said(sys.executable, "-m", "pip", "config", "list").splitlines()
    pairs = [line.split("=", 1) for line in listed if "=" in line]
    known = {pair[0].rpartition(".")[2]: pair[1].strip("'") for pair in pairs}
    kept = {k: v for k, v in known.items() if k != "find-links"}
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in kept.items())


def _apt_configuration() -> str:
    """How apt fetches on this machine, as far as its files say so in one line."""
    lines = (line for file in sorted(_APT.glob("*")) for line in file.read_text().splitlines())
    return "".join(f"{line}\n" for line in lines if line.startswith("Acquire::"))


def _said(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, check=False, text=True)
    if done.returncode:
        raise PeerError(f"{argv[0]}: {done.stderr}")
    return done.stdout


def _found(program: str) -> str:
    found = shutil.which(program)
    if not found:
        raise PeerError(f"{program}: no such program; as root: apt-get install {program}")
    return found
