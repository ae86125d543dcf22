"""Messages that hold an event each, submitted to a broker of VOEvents."""

import dataclasses
from collections.abc import Sequence

from tesp.bus import Message
from tesp.errors import BusRefused, BusUnavailable, MessageRefused
from tesp.ingress import attachments, voevent, vtp_sender
from tesp.ingress.attachments import Attachment

_KEY = "voevent"


def holding(message: Message, name: str, raw: bytes) -> Message:
    """A message with an event in it, byte for byte; raises MessageRefused where brokers would
    take it for none."""
    event = voevent.parsed(raw)
    if not voevent.element(raw).get("role"):
        # VTP tells events by it: without one, Comet hangs up, and does so each time.
        raise MessageRefused(f'it says no role; one of {", ".join(voevent.ROLES)}: role="..."')
    payload = {**message.payload, "ivorn": event.ivorn}
    held = attachments.holding(payload, _KEY, Attachment(name, raw))
    return dataclasses.replace(message, payload=held)


class EventSender:
    """Publishes messages that hold events. The broker is asked once about each: one such as Comet
    refuses what it has had before, so that its second answer says nothing of the event."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._answers: dict[str, str | None] = {}
        self.trouble: str | None = None

    @property
    def refusals(self) -> list[str]:
        """What the broker said of those that it refused."""
        return [said for said in self._answers.values() if said is not None]

    async def publish(self, messages: Sequence[Message]) -> None:
        """Submit them in this order; returns when the broker has taken all of them.

        Raises BusUnavailable where trying again may help, which `trouble` then tells, BusRefused
        where it never will, and MessageRefused for an event that the broker refuses.
        """
        for message in messages:
            if message.id not in self._answers:
                self._answers[message.id] = await self._answer(message)
            if refusal := self._answers[message.id]:
                raise MessageRefused(refusal)

    async def _answer(self, message: Message) -> str | None:
        """Why the broker does not take it; None where it does."""
        _, event = attachments.held(message.payload, _KEY)
        if event is None:
            raise BusRefused(f"{message.id} is no VOEvent: what goes elsewhere waits elsewhere")
        try:
            await vtp_sender.publish(self._host, self._port, event.data)
        except MessageRefused as error:
            return f"{message.payload.get('ivorn')}: {error}"
        except BusUnavailable as error:
            self.trouble = str(error)
            raise
        return None
