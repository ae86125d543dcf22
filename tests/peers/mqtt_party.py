"""A bare MQTT client that says things, and keeps what it hears."""

import contextlib
import threading
import uuid
from collections.abc import Iterator
from typing import Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.peers.guarded_brokers import password_of
from tests.peers.room import wait_until


class Party:
    """One user at a broker. `is_gone`: the broker hung up, or never let him in."""

    def __init__(self, user: str, password: str | None) -> None:
        self.heard: list[tuple[str, str]] = []
        self._answered = threading.Event()
        name = f"{user}-{uuid.uuid4().hex}"
        self._client = paho.Client(CallbackAPIVersion.VERSION2, name, reconnect_on_failure=False)
        if user:
            self._client.username_pw_set(user, password)
        self._client.on_message = lambda _c, _u, m: self.heard.append((m.topic, m.payload.decode()))
        for event in ("on_connect", "on_disconnect", "on_subscribe", "on_publish"):
            setattr(self._client, event, lambda *_: self._answered.set())

    @classmethod
    @contextlib.contextmanager
    def at(cls, port: int, user: str, password: str | None = None) -> Iterator[Self]:
        """Connect, with the user's own password unless told another."""
        party = cls(user, password_of(user) if password is None else password)
        party._client.connect("127.0.0.1", port, keepalive=60)
        party._client.loop_start()
        try:
            party._wait()
            yield party
        finally:
            party._client.disconnect()
            party._client.loop_stop()

    @property
    def is_gone(self) -> bool:
        """Whether there is no connection."""
        return not self._client.is_connected()

    def hear(self, *filters: str) -> None:
        """Subscribe, one filter after another; a broker may refuse, or hang up."""
        for pattern in filters:
            self._client.subscribe(pattern, 1)
            self._wait()

    def say(self, topic: str, words: str) -> None:
        """Publish, and wait until the broker has answered or hung up."""
        self._client.publish(topic, words, 1)
        self._wait()

    def _wait(self) -> None:
        wait_until(lambda: self._answered.is_set(), "the broker answers")
        self._answered.clear()
