"""Site: the documentation below `/docs/`, as `make docs` has built it, beside the broker that it is of.

Refuses: a path that is no file of the site; where the pages were not built, all of them, and says how to have them.
Keeps: the files are bytes that lie beside this module: nothing is made at a request, and nothing comes from elsewhere.
No page has a script or a style of its own in it (`docs/_ext/strict.py`), so the policy names no exception.
"""

import asyncio
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response

from broker.web.common.caching import exact
from broker.web.common.problems import problem
from broker.web.public.forms import bytes_of
from schemas.errors import Refused

FOLDER: Final = Path(__file__).parent / "site"
"""`make docs` writes it; a wheel that was built after that has it."""
PREFIX: Final = "/docs"
A_WHILE: Final = "public, max-age=300"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The search asks for its index with a script of the site; the theme draws its icons in its style sheet (`data:`)."""

MEDIA: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
"""By the end of a file's name: what a machine believes of them differs."""


def router(folder: Path = FOLDER) -> APIRouter:
    """`GET` and `HEAD` of every file, without authentication; a folder is its `index.html`."""
    made = APIRouter(tags=["documentation"])

    @cache
    def files() -> Mapping[str, Path]:
        """Each file by its path in the site: nothing else is ever opened."""
        return {each.relative_to(folder).as_posix(): each for each in folder.rglob("*") if each.is_file()}

    async def page(request: Request, path: str) -> Response:
        """A page of the documentation."""
        found = files().get(f"{path}index.html" if path.endswith("/") or not path else path)
        if found is None:
            return problem(Refused("api.not-found") if files() else Refused("docs.not-built"), 404, request)
        media = MEDIA.get(found.suffix, "application/octet-stream")
        answer = exact(request, await asyncio.to_thread(found.read_bytes), media, A_WHILE)
        answer.headers["Content-Security-Policy"] = POLICY
        return answer

    async def front() -> Response:
        """To the front page: what it links to is below it."""
        return Response(status_code=308, headers={"Location": f"{PREFIX}/"})

    pages = f"{PREFIX}/{{path:path}}"
    made.add_api_route(pages, page, methods=["GET"], response_class=Response, responses=bytes_of("text/html"))
    made.add_api_route(pages, page, methods=["HEAD"], include_in_schema=False)
    made.add_api_route(PREFIX, front, methods=["GET", "HEAD"], include_in_schema=False)
    return made


def has_page(path: str, folder: Path = FOLDER) -> bool:
    """Whether the site was built and has this page."""
    return (folder / path).is_file()
