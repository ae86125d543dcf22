"""Everything around the tasks: service-info, health, Swagger UI, errors, CORS."""

import re
from collections.abc import Mapping, Sequence

import httpx
import pytest
from fastapi import FastAPI

from tesp.errors import StoreError
from tesp.store import Cancel, Logged, NewTask, Page, TaskQuery
from tesp.store.sqlite import SqliteStore
from tesp.tes.views import TaskText, View
from tests.contract.api.serving import CURRENT, OLDER, STORAGE, TASK, api_over, client_of


class BrokenStore:
    """A store that does nothing but fail, with a secret in its words."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def create(self, task: NewTask) -> str:
        raise self._error

    async def create_many(self, new: Sequence[NewTask]) -> Sequence[str]:
        raise self._error

    async def get_many(self, ids: Sequence[str], view: View) -> Mapping[str, TaskText]:
        raise self._error

    async def end(self) -> int:
        raise self._error

    async def read(self, after: int, limit: int = 1000) -> Sequence[Logged]:
        raise self._error

    async def get(self, task_id: str, view: View) -> TaskText | None:
        raise self._error

    async def page(self, query: TaskQuery) -> Page:
        raise self._error

    async def cancel(self, task_id: str) -> Cancel:
        raise self._error


@pytest.mark.parametrize("prefix", [CURRENT, OLDER])
async def test_service_info_is_complete(client: httpx.AsyncClient, prefix: str) -> None:
    info = (await client.get(f"{prefix}/service-info")).json()
    assert info["id"] and info["name"] and info["version"] and info["description"]
    assert info["type"] == {"group": "org.ga4gh", "artifact": "tes", "version": "1.1.0"}
    assert set(info["organization"]) == {"name", "url"}
    assert info["storage"] == STORAGE
    assert info["tesResources_backend_parameters"] == [
        "countdown",
        "gpus",
        "max_retries",
        "not_before",
        "timeout",
    ]


async def test_service_info_says_what_the_settings_say(store: SqliteStore) -> None:
    said = {"contact_url": "mailto:a@b", "documentation_url": "https://d", "environment": "test"}
    async with client_of(api_over(store, name="N", service_id="org.x", **said)) as client:
        info = (await client.get(f"{CURRENT}/service-info")).json()
    assert (info["name"], info["id"]) == ("N", "org.x")
    assert info["contactUrl"] == "mailto:a@b"
    assert info["documentationUrl"] == "https://d"
    assert info["environment"] == "test"


@pytest.mark.parametrize("prefix", [CURRENT, OLDER])
async def test_legacy_service_info_is_exactly_name_doc_and_storage(
    client: httpx.AsyncClient, prefix: str
) -> None:
    info = (await client.get(f"{prefix}/tasks/service-info")).json()
    assert set(info) == {"name", "doc", "storage"}
    assert info["storage"] == STORAGE


async def test_health_does_not_ask_the_store() -> None:
    async with client_of(api_over(BrokenStore(StoreError("down")))) as client:
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "path", ["/nothing", "/ga4gh", "/ga4gh/tes", "/ga4gh/tes/v1", "/v1", "/tasks", "/v2/tasks"]
)
async def test_an_unknown_path_is_a_404_in_the_one_shape(
    client: httpx.AsyncClient, path: str
) -> None:
    for answer in (await client.get(path), await client.post(path, json=TASK)):
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json()) == {"status", "title", "detail"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/tasks", "GET, HEAD, POST"),
        ("PUT", "/tasks/x", "GET, HEAD"),
        ("POST", "/tasks/x", "GET, HEAD"),
        ("GET", "/tasks/x:cancel", "POST"),
        ("POST", "/service-info", "GET, HEAD"),
        ("OPTIONS", "/tasks", "GET, HEAD, POST"),
    ],
)
async def test_an_unknown_method_is_a_405_that_names_the_right_ones(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    for prefix in (CURRENT, OLDER):
        answer = await client.request(method, f"{prefix}{path}")
        assert answer.status_code == 405
        assert answer.headers["allow"] == allowed
        assert answer.json()["title"] == "Method Not Allowed"


async def all_operations(client: httpx.AsyncClient) -> Sequence[httpx.Response]:
    return (
        await client.post(f"{CURRENT}/tasks", json=TASK),
        await client.get(f"{CURRENT}/tasks"),
        await client.get(f"{CURRENT}/tasks/x"),
        await client.post(f"{CURRENT}/tasks/x:cancel"),
    )


async def test_a_store_that_fails_is_a_503_to_try_again() -> None:
    async with client_of(api_over(BrokenStore(StoreError("secret")))) as client:
        for answer in await all_operations(client):
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert "secret" not in answer.text


async def test_an_unforeseen_error_is_a_500_that_leaks_nothing() -> None:
    async with client_of(api_over(BrokenStore(RuntimeError("secret")))) as client:
        for answer in await all_operations(client):
            assert answer.status_code == 500
            assert answer.json()["title"] == "Internal Server Error"
            assert "secret" not in answer.text


async def test_swagger_ui_is_served_whole_from_here(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assets = [name for name in named if not name.startswith("data:")]
    assert len(assets) == 3
    for asset in assets:
        assert "//" not in asset
        assert (await client.get(f"/{asset}")).status_code == 200
    start = (await client.get("/swagger/start.js")).text
    assert '"openapi.json"' in start
    assert "validatorUrl: null" in start
    assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.1")


async def test_other_pages_of_documentation_are_off(client: httpx.AsyncClient) -> None:
    for path in ("/docs", "/redoc"):
        assert (await client.get(path)).status_code == 404


async def test_a_file_outside_the_assets_is_not_served(client: httpx.AsyncClient) -> None:
    for path in ("/swagger/../pages.py", "/swagger/%2e%2e/pages.py", "/swagger/..%2fpages.py"):
        assert (await client.get(path)).status_code == 404


def preflight(api: FastAPI) -> httpx.AsyncClient:
    client = client_of(api)
    client.headers.update(
        {"Origin": "https://site.example", "Access-Control-Request-Method": "POST"}
    )
    return client


async def test_other_origins_are_let_in_only_by_the_setting(store: SqliteStore) -> None:
    async with preflight(api_over(store)) as client:
        answer = await client.options(f"{CURRENT}/tasks")
        assert "access-control-allow-origin" not in answer.headers
    async with preflight(api_over(store, cors_origins=("https://site.example",))) as client:
        answer = await client.options(f"{CURRENT}/tasks")
        assert answer.headers["access-control-allow-origin"] == "https://site.example"
        listed = await client.get(f"{CURRENT}/tasks")
        assert listed.headers["access-control-allow-origin"] == "https://site.example"
        client.headers["Origin"] = "https://other.example"
        answer = await client.get(f"{CURRENT}/tasks")
        assert "access-control-allow-origin" not in answer.headers
