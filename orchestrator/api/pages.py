"""The web pages: built files, and one document for each path that a page has."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Route

#: Where the build puts the pages.
FOLDER: Final = Path(__file__).parent / "static" / "ui"
#: What ``ui/src/routes.tsx`` shows; any other path is none.
PATHS: Final = (
    "/",
    "/overview",
    "/runs",
    "/runs/{run_id}",
    "/jobs",
    "/locations/{location:path}/jobs/{job}",
    "/locations/{location:path}/jobs/{job}/{tab}",
    "/automation",
    "/locations/{location:path}/schedules/{name}",
    "/locations/{location:path}/sensors/{name}",
    "/backfills",
    "/backfills/{backfill_id}",
    "/workers",
    "/deployment",
    "/deployment/{tab}",
    "/graphiql",
)
_MISSING: Final = """<!doctype html><html lang="en"><title>opgrid</title><h1>The pages are not built</h1>
<p>The API is at <code>graphql</code>. To build the pages: <code>make ui</code>, which needs npm.</p></html>"""
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")


def page_routes(prefix: str, folder: Path = FOLDER) -> list[BaseRoute]:
    def page(request: Request) -> Response:
        document = folder / "index.html"
        if not document.exists():
            return HTMLResponse(_MISSING, 503)
        base = f'<base href="{html.escape(prefix)}/">'
        text = document.read_text().replace("<head>", f"<head>{base}", 1)
        return HTMLResponse(text, headers={"cache-control": "no-cache"})

    def asset(request: Request) -> Response:
        name: str = request.path_params["name"]
        path = folder / "assets" / name
        if not _NAME.fullmatch(name) or not path.is_file():
            raise HTTPException(404)
        return FileResponse(path, headers={"cache-control": "public, max-age=31536000, immutable"})

    def icon(request: Request) -> Response:
        path = folder / "favicon.svg"
        if not path.is_file():
            raise HTTPException(404)
        return FileResponse(path)

    return [
        Route("/assets/{name}", asset),
        Route("/favicon.svg", icon),
        *(Route(path, page) for path in PATHS),
    ]
