"""Swagger UI (swagger-ui-dist 5.35.0, Apache-2.0) at `/`, all of it served from here: a site's
network may reach nothing else."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

_ASSETS = Path(__file__).parent / "swagger"
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tesp</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="swagger/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="swagger/swagger-ui-bundle.js"></script>
<script src="swagger/start.js"></script>
</body>
</html>
"""


def page_routes() -> list[BaseRoute]:
    """The page and its assets."""
    return [
        Route("/", _page, methods=["GET"], include_in_schema=False),
        Mount("/swagger", StaticFiles(directory=_ASSETS)),
    ]


async def _page(request: Request) -> Response:
    headers = {"Content-Security-Policy": _POLICY}
    return Response(_PAGE, headers=headers, media_type="text/html; charset=utf-8")
