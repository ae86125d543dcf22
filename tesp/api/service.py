"""What the service says of itself: GA4GH service-info 1.0 with the fields of TES."""

from typing import Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from tesp import __version__
from tesp.api.parts import Parts


class Organization(BaseModel):
    """Who runs the service."""

    name: str
    url: str


class ServiceType(BaseModel):
    """Which API this is."""

    group: str
    artifact: Literal["tes"]
    version: str


class ServiceInfo(BaseModel):
    """The service, as GA4GH clients and registries want it described."""

    id: str
    name: str
    type: ServiceType
    description: str
    organization: Organization
    contactUrl: str | None = None
    documentationUrl: str | None = None
    environment: str | None = None
    version: str
    storage: list[str]
    tesResources_backend_parameters: list[str]


class LegacyServiceInfo(BaseModel):
    """The service as clients of TES 1.0 want it: these fields and not one more."""

    name: str
    doc: str
    storage: list[str]


_TYPE = ServiceType(group="org.ga4gh", artifact="tes", version="1.1.0")
_DOC = "Runs containers for the GA4GH Task Execution Service API, version 1.1.0."


class Service:
    """The endpoints about the service."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def info(self, request: Request) -> Response:
        """The whole service-info."""
        settings = self._parts.settings
        return _json(
            ServiceInfo(
                id=settings.service_id,
                name=settings.name,
                type=_TYPE,
                description=_DOC,
                version=__version__,
                organization=Organization(
                    name=settings.organization_name, url=settings.organization_url
                ),
                contactUrl=settings.contact_url,
                documentationUrl=settings.documentation_url,
                environment=settings.environment,
                storage=list(self._parts.storage()),
                tesResources_backend_parameters=sorted(self._parts.admission.limits.parameters),
            )
        )

    async def legacy(self, request: Request) -> Response:
        """The service-info of TES 1.0."""
        storage = list(self._parts.storage())
        return _json(LegacyServiceInfo(name=self._parts.settings.name, doc=_DOC, storage=storage))

    async def health(self, request: Request) -> Response:
        """Whether the process answers; says nothing of the store or the backends."""
        return Response('{"status":"ok"}', media_type="application/json")


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(exclude_none=True), media_type="application/json")
