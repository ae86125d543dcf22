"""The application: routes, middleware, errors and the OpenAPI document, put together."""

from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route

from tesp import __version__
from tesp.api import problems
from tesp.api.batches import Batches
from tesp.api.dialects import Dialect, dialects
from tesp.api.document import complete
from tesp.api.events import Events
from tesp.api.figures import Figures
from tesp.api.files import Files
from tesp.api.pages import page_routes
from tesp.api.parts import Parts
from tesp.api.resources import Resource
from tesp.api.service import Service
from tesp.api.slashes import Slashes
from tesp.api.tasks import Tasks
from tesp.api.waiting import Waiting


class Api(FastAPI):
    """FastAPI, with the TES paths in its document: they are plain routes, for their speed."""

    def openapi(self) -> dict[str, Any]:
        """The whole document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi())
        return self.openapi_schema


def build_api(parts: Parts) -> FastAPI:
    """The ASGI application; further routers may be included in it."""
    api = Api(
        title="tesp",
        version=__version__,
        summary="A GA4GH Task Execution Service",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    service = Service(parts)
    # For the composition root, which ends it with the service.
    waiting = api.state.waiting = Waiting(parts.log)
    both = dialects(parts.settings.legacy_states)
    for dialect in both:
        api.router.routes.extend(_routes(dialect, Tasks(parts, dialect, waiting), service))
    api.router.routes.extend(_batch_routes(both[0], Batches(parts)))
    if parts.files:
        api.router.routes.extend(Files(parts.files).routes())
    api.router.routes.extend(Events(parts, waiting.over).routes())
    if parts.figures:
        api.router.routes.extend(Figures(parts.figures).routes())
    api.router.routes.append(Route("/healthz", Resource(GET=service.health)))
    api.router.routes.extend(page_routes())
    problems.install(api)
    api.add_middleware(Slashes, prefixes=[dialect.prefix for dialect in both])
    if parts.settings.cors_origins:
        _allow_origins(api, parts.settings.cors_origins)
    return api


def _routes(dialect: Dialect, tasks: Tasks, service: Service) -> list[BaseRoute]:
    prefix = dialect.prefix
    return [
        Route(f"{prefix}/tasks", Resource(GET=tasks.list, POST=tasks.create)),
        Route(f"{prefix}/service-info", Resource(GET=service.info)),
        # Older clients of either prefix ask here; no task has this id.
        Route(f"{prefix}/tasks/service-info", Resource(GET=service.legacy)),
        Route(f"{prefix}/tasks/{{id:path}}:cancel", Resource(POST=tasks.cancel)),
        Route(f"{prefix}/tasks/{{id:path}}", Resource(GET=tasks.get)),
    ]


def _batch_routes(current: Dialect, batches: Batches) -> list[BaseRoute]:
    return [
        Route(f"{current.prefix}/tasks:batch", Resource(POST=batches.create)),
        Route(f"{current.prefix}/tasks:batchGet", Resource(POST=batches.get)),
    ]


def _allow_origins(api: FastAPI, origins: tuple[str, ...]) -> None:
    api.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=[
            *("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match"),
            *("Last-Event-ID", "Tesp-Hops", "X-Correlation-ID"),
        ],
        expose_headers=["ETag", "Tesp-Wait"],
        max_age=86400,
    )
