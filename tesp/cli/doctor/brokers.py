"""The brokers of Pulsars that are reached over AMQP, and whether the Pulsars listen there."""

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelClosed,
    ChannelNotFoundEntity,
    ConnectionClosed,
    ProbableAuthenticationError,
    ProtocolSyntaxError,
)

from tesp.backends.pulsar.messages import SETUP, queue_name
from tesp.backends.pulsar.wire import managers_of
from tesp.cli.doctor.findings import Finding, fail, ok
from tesp.settings import PulsarSettings

_ANSWER_SECONDS = 5.0
# The second is how a closed door looks in the middle of the handshake.
_NO_VHOST = (ConnectionClosed, ProtocolSyntaxError)


async def broker_findings(number: int, pulsar: PulsarSettings) -> Sequence[Finding]:
    """Whether the broker lets us in, and whether the Pulsar takes jobs from its queues."""
    assert pulsar.amqp_url is not None
    url = pulsar.amqp_url.get_secret_value()
    what, key = f"broker of {pulsar.name}", f"pulsars.{number}.amqp_url"
    parts = urlsplit(url)
    try:
        connection = await aio_pika.connect(url, timeout=_ANSWER_SECONDS)
    except (AuthenticationError, ProbableAuthenticationError):
        user = unquote(parts.username or "guest")
        return [fail(what, f"the login of {user} is refused", f"Mend the password in {key}.")]
    except _NO_VHOST:
        vhost = unquote(parts.path[1:]) or "/"
        mend = f"Make it and let this user in (rabbitmqctl), or mend {key}."
        return [fail(what, f"no entry to the virtual host {vhost}", mend)]
    except (AMQPError, OSError) as error:
        # A timeout says nothing.
        reason = str(error) or "no answer"
        mend = f"Start the broker, or mend {key} and the firewall between."
        return [fail(what, f"{parts.hostname} cannot be reached: {reason}", mend)]
    async with connection:
        listening = await _listening_finding(connection, pulsar)
    return [ok(what, f"{parts.hostname} lets us in"), listening]


async def _listening_finding(connection: AbstractConnection, pulsar: PulsarSettings) -> Finding:
    what = f"pulsar {pulsar.name} over AMQP"
    control = [pulsar.control_manager] if pulsar.control_manager else []
    for manager in dict.fromkeys([*managers_of(pulsar), *control]):
        queue = queue_name(manager, SETUP, pulsar.amqp_key_prefix)
        try:
            listeners = await _listeners(connection, queue)
        except ChannelClosed as error:
            mend = f"Let our user configure, write and read {queue} (rabbitmqctl set_permissions)."
            return fail(what, f"the queue {queue} is refused: {error}", mend)
        if not listeners:
            mend = (
                "Start the Pulsar, with this broker as its message_queue_url and the manager "
                f"{manager} in its app.yml."
            )
            return fail(what, f"nobody listens to the queue {queue}", mend)
    return ok(what, "it takes jobs")


async def _listeners(connection: AbstractConnection, queue: str) -> int:
    """How many take from a queue; 0 where there is none."""
    # A refusal closes the channel, and nothing else.
    channel = await connection.channel()
    try:
        declared = await channel.declare_queue(queue, passive=True)
    except ChannelNotFoundEntity:
        return 0
    return declared.declaration_result.consumer_count or 0
