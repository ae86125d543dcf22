"""Mails out: messages in batches to the relay of a computing centre."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage

from tesp.bus import Message
from tesp.bus.mail_server import MailServer
from tesp.errors import BusRefused, RecipientRefused
from tesp.ingress import mail_writing

MOST_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class Relay:
    """Which server takes the mails, whom they are for, and from whom; how large one may be."""

    server: MailServer
    recipient: str
    sender: str
    most_bytes: int = MOST_BYTES


class MailSender:
    """Publishes messages as Prodiguer's mails, several in one."""

    def __init__(
        self,
        relay: Relay,
        producer: str = "tesp",
        version: str = "1",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._relay = relay
        self._producer = producer
        self._version = version
        self._clock = clock

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send in this order; returns when the relay has taken all of them.

        Raises BusUnavailable where trying again may help, BusRefused where it never will, and
        MessageRefused for what is no message; some may have been sent: send all of them again.
        """
        mails = self._mails(messages)
        await asyncio.to_thread(self._send, mails)

    def _mails(self, messages: Sequence[Message]) -> list[EmailMessage]:
        relay, now = self._relay, self._clock()
        parcels = mail_writing.parcels(messages, self._producer, self._version, relay.most_bytes)
        return [mail_writing.mail(one, relay.sender, relay.recipient, now) for one in parcels]

    def _send(self, mails: Sequence[EmailMessage]) -> None:
        relay = self._relay
        try:
            relay.server.send(mails, relay.sender, relay.recipient)
        except RecipientRefused as error:
            # There is no other: no message of ours passes.
            raise BusRefused(str(error)) from error
