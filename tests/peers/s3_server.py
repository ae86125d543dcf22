"""Moto's S3 server as a process of its own; it does not check credentials."""

import dataclasses
import functools
from typing import Any, Self

import boto3

from tesp.settings import S3Access
from tests.peers.environments import program
from tests.peers.room import Room, answers, free_port


@dataclasses.dataclass(frozen=True)
class S3Server:
    """`url` is the endpoint, with path-style buckets; any keys will do."""

    url: str

    @classmethod
    def boot(cls, room: Room) -> Self:
        """Start it and wait until it answers."""
        port = free_port()
        moto = program("moto", "moto_server")
        room.start("moto", [moto, "-H", "127.0.0.1", "-p", str(port)])
        room.wait_until(lambda: answers(port), "moto answers")
        return cls(f"http://127.0.0.1:{port}")

    @property
    def port(self) -> int:
        """The port of the endpoint."""
        return int(self.url.rpartition(":")[2])

    def access(self, endpoint: str = "") -> S3Access:
        """The settings that reach it, at another endpoint where a proxy is between."""
        return S3Access.model_validate(
            {"endpoint": endpoint or self.url, "access_key": "a-key", "secret_key": "a-secret"}
        )

    def client(self) -> Any:
        """Another client than ours, to see what is really there."""
        return _client(self.url)

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        self.client().create_bucket(Bucket=name)


@functools.cache
def _client(url: str) -> Any:
    """One for each process: it takes longer to make than what it is asked for."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id="a-key",
        aws_secret_access_key="a-secret",
        region_name="us-east-1",
    )
