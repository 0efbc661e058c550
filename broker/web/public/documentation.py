"""Documentation: the page that the `type` of a problem opens, `/docs/errors.html`, with every code in both languages.

Refuses: nothing.
Keeps: made once for a process, of the sentences that the answers themselves have; each code has the anchor that
`broker.web.common.problems` names. It needs nothing from elsewhere and runs no script.
"""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape
from typing import Final

from fastapi import APIRouter, Request, Response

from broker.web.common.caching import exact
from broker.web.common.problems import DOCUMENTED, anchor
from broker.web.public.forms import bytes_of
from schemas.messages import table

PAGE: Final = DOCUMENTED.removesuffix("#")
HTML: Final = "text/html; charset=utf-8"
A_WHILE: Final = "public, max-age=300"

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "h2{font-family:ui-monospace,monospace;font-size:1rem;margin-top:2rem}:target{background:#ffd}"
)
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def router() -> APIRouter:
    """One address, without authentication."""
    made = APIRouter(tags=["documentation"])

    async def errors(request: Request) -> Response:
        """Every code with what is wrong and what to do."""
        answer = exact(request, _page(), HTML, A_WHILE)
        answer.headers["Content-Security-Policy"] = _POLICY
        return answer

    made.add_api_route(PAGE, errors, methods=["GET"], response_class=Response, responses=bytes_of("text/html"))
    return made


@cache
def _page() -> bytes:
    sections = "\n".join(
        f'<h2 id="{anchor(code)}">{escape(code)}</h2>\n'
        f'<p lang="en">{escape(told["en"])} {escape(told["do_en"])}</p>\n'
        f'<p lang="fr">{escape(told["fr"])} {escape(told["do_fr"])}</p>'
        for code, told in sorted(table().items())
    )
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>Unefois: codes</title>\n<style>{_STYLE}</style>\n'
        "<h1>Codes</h1>\n<p>What is wrong, and what to do. An answer fills in what stands in braces.</p>\n"
        '<p lang="fr">Ce qui ne va pas, et que faire. Une réponse remplit ce qui est entre accolades.</p>\n'
        f"{sections}\n"
    ).encode()
