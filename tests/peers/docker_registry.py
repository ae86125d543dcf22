"""Debian's docker-registry on loopback: with a password, or open."""

import base64
import dataclasses
import json
import shutil
import uuid
from pathlib import Path
from typing import Self

from tests.peers.docker_engine import DockerEngine
from tests.peers.room import PeerError, Room, answers, free_port

USERNAME = "alice"
PASSWORD = "open-sesame"
# bcrypt of PASSWORD, the one scheme that the registry takes.
_HTPASSWD = "alice:$2y$05$xLRTLdQMehwWqmQuRI2wBeKddaMewrNM1ZyssoBzEBP3TExnJ.dVa\n"
_PROGRAMS = ("docker-registry", "registry")


@dataclasses.dataclass(frozen=True)
class DockerRegistry:
    """`host` is HOST:PORT, the first part of its images' references. Open: no `username`."""

    host: str
    username: str
    password: str
    directory: str

    @classmethod
    def boot(cls, room: Room) -> Self:
        """Start one that asks for the password."""
        (room.directory / "htpasswd").write_text(_HTPASSWD)
        auth = {"htpasswd": {"realm": "tests", "path": str(room.directory / "htpasswd")}}
        return cls(_start(room, {"auth": auth}), USERNAME, PASSWORD, str(room.directory))

    def push(self, engine: DockerEngine, image: str, name: str) -> str:
        """Push a local image of the engine; gives its reference. The engine keeps no copy of it."""
        reference = f"{self.host}/{name}"
        engine.cli("tag", image, reference)
        engine.cli("push", reference, config=self.login())
        engine.cli("rmi", reference)
        return reference

    def login(self, username: str | None = None, password: str | None = None) -> str:
        """A directory for `docker --config` that holds these credentials, or the right ones."""
        pair = f"{username or self.username}:{password or self.password}"
        config = Path(self.directory) / f"config-{uuid.uuid4().hex}"
        config.mkdir()
        auths = {self.host: {"auth": base64.b64encode(pair.encode()).decode()}}
        (config / "config.json").write_text(json.dumps({"auths": auths if self.username else {}}))
        return str(config)


@dataclasses.dataclass(frozen=True)
class OpenRegistry(DockerRegistry):
    """A registry that asks for nothing."""

    @classmethod
    def boot(cls, room: Room) -> Self:
        """Start one that asks for nothing."""
        return cls(_start(room, {}), "", "", str(room.directory))


def _start(room: Room, more: dict[str, object]) -> str:
    port = free_port()
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(room.directory / "images")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        **more,
    }
    # The registry reads YAML, and JSON is YAML.
    (room.directory / "config.yml").write_text(json.dumps(config))
    program = next((p for p in map(shutil.which, _PROGRAMS) if p), None)
    if program is None:
        raise PeerError("docker-registry: no such program; `make test` installs it")
    room.start("registry", [program, "serve", room.directory / "config.yml"])
    room.wait_until(lambda: answers(port), "the registry answers")
    return f"127.0.0.1:{port}"
