"""OpenStack Swift with s3api: a real S3 server that checks keys, signatures and expiry."""

import base64
import configparser
import dataclasses
import hmac
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.peers.environments import program
from tests.peers.room import PeerError, Room, answers, free_port

_ENVIRONMENT = "swift"
_REGION = "us-east-1"
_ACCESS_KEY = "tests:alice"
_SECRET_KEY = "an-s3-secret-key"
_STORAGE = ("account", "container", "object")
_PIPELINE = "catch_errors listing_formats s3api tempauth copy bulk slo dlo versioned_writes"

Sections = Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class SwiftS3:
    """`endpoint` speaks S3, buckets in the path, to this one pair of keys."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str

    @classmethod
    def boot(cls, room: Room) -> Self:
        """Build the rings and start the four servers."""
        ports = {name: free_port() for name in ("proxy", *_STORAGE)}
        (room.directory / "disks" / "d1").mkdir(parents=True)
        _write(room.directory / "swift.conf", {"swift-hash": {"swift_hash_path_suffix": "tests"}})
        for name in _STORAGE:
            _build_ring(room.directory, name, ports[name])
            _start(room, name, ports[name], {})
        _start(room, "proxy", ports["proxy"], _filters(), _PIPELINE)
        room.wait_until(lambda: all(map(answers, ports.values())), "Swift answers")
        swift = cls(f"http://127.0.0.1:{ports['proxy']}", _ACCESS_KEY, _SECRET_KEY, _REGION)
        swift.create_bucket("ready")
        return swift

    def create_bucket(self, name: str) -> str:
        """Make a bucket of a new name, three letters or more; gives the name."""
        expires = int(time.time()) + 60
        text = f"PUT\n\n\n{expires}\n/{name}".encode()
        signature = base64.b64encode(hmac.digest(self.secret_key.encode(), text, "sha1"))
        query = urllib.parse.urlencode(
            {"AWSAccessKeyId": self.access_key, "Expires": expires, "Signature": signature}
        )
        request = urllib.request.Request(f"{self.endpoint}/{name}?{query}", method="PUT")
        try:
            with urllib.request.urlopen(request, timeout=30):
                return name
        except urllib.error.HTTPError as error:
            raise PeerError(f"bucket {name}: {error}: {error.read().decode()}") from error


def _filters() -> Sections:
    filters: dict[str, dict[str, Any]] = {n: {"use": f"egg:swift#{n}"} for n in _PIPELINE.split()}
    # Account and user are what an access key spells: tests:alice.
    filters["tempauth"]["user_tests_alice"] = f"{_SECRET_KEY} .admin"
    filters["s3api"]["location"] = _REGION
    return {f"filter:{name}": values for name, values in filters.items()}


def _start(room: Room, name: str, port: int, more: Sections, filters: str = "") -> None:
    """Start one server in one process, with its disks and rings in the room."""
    default = {
        **{"bind_ip": "127.0.0.1", "bind_port": port, "workers": 0, "mount_check": "false"},
        **{"swift_dir": room.directory, "devices": room.directory / "disks"},
        **{"recon_cache_path": room.directory, "user": room.directory.owner()},
    }
    server = {
        **{"use": f"egg:swift#{name}", "account_autocreate": "true"},
        # There is one disk: a server that is slow is the one that is there.
        **{"conn_timeout": 60, "node_timeout": 60},
    }
    pipeline = {"pipeline": f"{filters} {name}-server"}
    sections: Sections = {
        "DEFAULT": default,
        "pipeline:main": pipeline,
        f"app:{name}-server": server,
        **more,
    }
    file = room.directory / f"{name}.conf"
    _write(file, sections)
    room.start(name, [program(_ENVIRONMENT, f"swift-{name}-server"), file, "--verbose"])


def _write(path: Path, sections: Sections) -> None:
    config = configparser.RawConfigParser()
    config.read_dict({s: {k: str(v) for k, v in values.items()} for s, values in sections.items()})
    with path.open("w") as file:
        config.write(file)


def _build_ring(directory: Path, name: str, port: int) -> None:
    """One partition set, one replica, one disk."""
    builder = directory / f"{name}.builder"
    steps: list[list[str]] = [
        ["create", "4", "1", "1"],
        ["add", f"r1z1-127.0.0.1:{port}/d1", "1"],
        ["rebalance"],
    ]
    for step in steps:
        argv: list[str | Path] = [program(_ENVIRONMENT, "swift-ring-builder"), builder, *step]
        done = subprocess.run(argv, capture_output=True, check=False, text=True)
        if done.returncode > 1:
            raise PeerError(f"swift-ring-builder {step[0]}: {done.stdout}{done.stderr}")
