"""Webhooks in: a flat JSON object, posted and perhaps signed, becomes a message."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tesp import signature
from tesp.bus import Delivery, tael
from tesp.errors import MessageRefused, TespError
from tesp.ingress import Deliver
from tesp.settings.ingress import WebhookSettings

_log = logging.getLogger(__name__)

PATH = "/ingress/webhook/{name}"
_MEDIA_TYPE = "application/problem+json"
_RETRY = {"Retry-After": "5"}


def route(
    webhooks: Sequence[WebhookSettings],
    deliver: Deliver,
    clock: Callable[[], float] = time.time,
) -> Route:
    """The route of all webhooks: 202 with the message's id once it is delivered."""
    webhook = Webhook({one.name: one for one in webhooks}, deliver, clock)
    return Route(PATH, webhook.answer, methods=["POST"], name="webhook")


@dataclass(frozen=True, slots=True)
class Webhook:
    """The webhooks of a site. Who signs with a webhook's secret is trusted."""

    webhooks: Mapping[str, WebhookSettings]
    deliver: Deliver
    clock: Callable[[], float]

    async def answer(self, request: Request) -> Response:
        """The answer to a POST."""
        webhook = self.webhooks.get(str(request.path_params["name"]))
        if webhook is None:
            return _problem(404, "There is no such webhook.")
        body = await _body(request)
        if body is None:
            return _problem(413, f"The body is too big; the most is {tael.MOST_BYTES} bytes.")
        if webhook.secret is not None:
            secret = webhook.secret.get_secret_value().encode()
            header = request.headers.get(signature.HEADER)
            if refusal := signature.refusal(secret, header, body, self.clock()):
                _log.warning("The webhook %s was refused: %s", webhook.name, refusal)
                return _problem(
                    401,
                    f"The body is not believed: {refusal}.",
                    {"WWW-Authenticate": signature.HEADER},
                )
        return await self._passed_on(webhook, body)

    async def _passed_on(self, webhook: WebhookSettings, body: bytes) -> Response:
        try:
            message = tael.decode(webhook.topic, body, self.clock())
            await self.deliver(Delivery(message, body, trusted=webhook.secret is not None))
        except MessageRefused as error:
            return _problem(400, f"This is no message: {error}.")
        except TespError as error:
            _log.warning("A message of the webhook %s waits: %s", webhook.name, error)
            return _problem(503, "The message cannot be passed on just now; try again.", _RETRY)
        return JSONResponse({"id": message.id}, 202)


async def _body(request: Request) -> bytes | None:
    """None where there is more than a message may have, or its sender went away."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > tael.MOST_BYTES:
                return None
    except ClientDisconnect:
        return None
    return bytes(body)


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps({"status": status, "detail": detail})
    return Response(content, status, headers, media_type=_MEDIA_TYPE)
