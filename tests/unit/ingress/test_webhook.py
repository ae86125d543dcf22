"""Webhooks: who is trusted, who is refused and how he is told."""

import json
from collections.abc import Mapping

import httpx
import pytest
from starlette.applications import Starlette

from tesp import signature
from tesp.bus import Delivery, tael
from tesp.errors import BusUnavailable, MessageRefused
from tesp.ingress import webhook
from tesp.settings import WebhookSettings

_SECRET = b"the rose and crown"
_NOW = 1_800_000_000.0
_BODY = b'{"sample": "s-1", "status": "finished"}'


class Site:
    """One with a signed webhook and an open one."""

    def __init__(self) -> None:
        self.came: list[Delivery] = []
        self.trouble: Exception | None = None
        settings = [
            WebhookSettings.model_validate({"name": "open", "topic": "lab/open/status"}),
            WebhookSettings.model_validate(
                {"name": "signed", "topic": "lab/signed/status", "secret": _SECRET.decode()}
            ),
        ]
        route = webhook.route(settings, self._take, lambda: _NOW)
        transport = httpx.ASGITransport(Starlette(routes=[route]))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://site")

    async def post(
        self, name: str, body: bytes = _BODY, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return await self._client.post(f"/ingress/webhook/{name}", content=body, headers=headers)

    async def _take(self, delivery: Delivery) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.came.append(delivery)


@pytest.fixture
def site() -> Site:
    return Site()


def signed(body: bytes = _BODY, secret: bytes = _SECRET, now: float = _NOW) -> dict[str, str]:
    return {signature.HEADER: signature.signed(secret, body, now)}


async def test_what_is_posted_becomes_a_message_on_the_topic_of_the_webhook(site: Site) -> None:
    response = await site.post("open")
    (one,) = site.came
    assert (response.status_code, response.json()) == (202, {"id": one.message.id})
    assert one.message.topic == "lab/open/status"
    assert dict(one.message.payload) == json.loads(_BODY)
    assert one.raw == _BODY
    assert not one.trusted


async def test_who_signs_is_trusted(site: Site) -> None:
    assert (await site.post("signed", headers=signed())).status_code == 202
    assert [one.trusted for one in site.came] == [True]


async def test_a_signature_gains_nothing_where_there_is_no_secret(site: Site) -> None:
    assert (await site.post("open", headers=signed())).status_code == 202
    assert [one.trusted for one in site.came] == [False]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {signature.HEADER: ""},
        {signature.HEADER: "v1=" + "0" * 64},
        {signature.HEADER: f"t=0{int(_NOW)},v1=" + "0" * 64},
        {signature.HEADER: f"t={int(_NOW)},v1=" + "x" * 64},
        {signature.HEADER: f"t={'9' * 5000},v1=" + "0" * 64},
        signed(secret=b"another"),
        signed(body=_BODY + b" "),
        signed(now=_NOW - 301),
        signed(now=_NOW + 301),
    ],
)
async def test_a_forged_or_an_old_signature_is_refused(site: Site, headers: dict[str, str]) -> None:
    response = await site.post("signed", headers=headers)
    assert response.status_code == 401
    assert "signature" in response.json()["detail"].lower()
    assert site.came == []


@pytest.mark.parametrize("age", [-299, 0, 299])
async def test_clocks_may_differ_by_less_than_five_minutes(site: Site, age: int) -> None:
    assert (await site.post("signed", headers=signed(now=_NOW - age))).status_code == 202


def test_the_signature_is_the_one_that_others_compute() -> None:
    # echo -n '1.{}' | openssl dgst -sha256 -hmac key
    digest = "1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224"
    assert signature.signed(b"key", b"{}", 1.9) == f"t=1,v1={digest}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no JSON"),
        (b"\xff\x00\xfe", "no JSON"),
        (b"[" * 10_000, "no JSON"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "no JSON"),
        (b"[1]", "no JSON object"),
        (b'{"a": {"b": 1}}', "not flat"),
        (b'{"hops": -1}', "hops"),
    ],
)
async def test_what_is_no_message_is_refused_with_the_reason(
    site: Site, body: bytes, said: str
) -> None:
    response = await site.post("open", body)
    assert response.status_code == 400
    assert said in response.json()["detail"]
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_body_that_is_too_big_is_refused(site: Site) -> None:
    response = await site.post("open", b'{"a": "' + b"x" * (1 << 20) + b'"}')
    assert response.status_code == 413
    assert str(tael.MOST_BYTES) in response.json()["detail"]


async def test_a_webhook_that_is_not_there_is_not_found(site: Site) -> None:
    assert (await site.post("other")).status_code == 404


async def test_a_sender_tries_again_when_nobody_takes_the_message(site: Site) -> None:
    site.trouble = BusUnavailable("the broker at 10.0.0.1 is away")
    response = await site.post("open")
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert "10.0.0.1" not in response.text
    site.trouble = MessageRefused("the topic may not be written to")
    assert (await site.post("open")).status_code == 400


async def test_hops_and_correlation_of_a_message_are_kept(site: Site) -> None:
    body = b'{"message_id": "m", "correlation_id": "c", "hops": 7, "status": "x"}'
    await site.post("open", body)
    (one,) = site.came
    assert (one.message.id, one.message.correlation, one.message.hops) == ("m", "c", 7)
