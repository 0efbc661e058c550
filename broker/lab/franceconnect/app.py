"""App: both services under one address, `/fc/api/v2` and `/fcplus/api/v2`, with a page to choose who one is.

Refuses: what `Provider` refuses, with 400 or 401 and OAuth2's words.
Keeps: the page says that it is not FranceConnect, and works without JavaScript.
"""

from collections.abc import Awaitable, Callable, Mapping
from html import escape
from typing import Final
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from broker.access.identity_tokens import Door
from broker.lab.franceconnect.provider import Provider, Wrong

PATHS: Final = {Door.FRANCECONNECT: "/fc/api/v2", Door.PLUS: "/fcplus/api/v2"}
"""Below the address of the app: the issuer is both together."""

_PAGE: Final = """<!doctype html><html lang="fr"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Connexion fictive</title>
<main><h1>Connexion fictive</h1>
<p>Ceci n'est pas FranceConnect : personne ici n'existe. Niveau demandé : {acr}.</p>
<form method="post" action="choose"><input type="hidden" name="number" value="{number}">{people}
<p><button name="person" value="">Annuler</button></p></form></main></html>"""


def app(providers: Mapping[Door, Provider]) -> Starlette:
    """The ASGI application; `provider.issuer` has to end with the path of its door (PATHS)."""
    return Starlette(routes=[Mount(PATHS[door], routes=_routes(one)) for door, one in providers.items()])


def _routes(provider: Provider) -> list[Route]:
    async def discovery(_: Request) -> Response:
        return JSONResponse(provider.discovery())

    async def jwks(_: Request) -> Response:
        return JSONResponse(provider.jwks())

    async def authorize(request: Request) -> Response:
        told = dict(request.query_params)
        return HTMLResponse(_page(provider, provider.authorize(told), told["acr_values"]))

    async def choose(request: Request) -> Response:
        told = await _form(request)
        return RedirectResponse(provider.choose(told.get("number", ""), told.get("person") or None), 303)

    async def token(request: Request) -> Response:
        return JSONResponse(provider.token(await _form(request), request.headers.get("authorization")))

    async def userinfo(request: Request) -> Response:
        return Response(provider.userinfo(request.headers.get("authorization")), media_type="application/jwt")

    async def logout(request: Request) -> Response:
        return RedirectResponse(provider.logout(dict(request.query_params)), 303)

    return [
        Route("/.well-known/openid-configuration", _answered(discovery)),
        Route("/jwks", _answered(jwks)),
        Route("/authorize", _answered(authorize)),
        Route("/choose", _answered(choose), methods=["POST"]),
        Route("/token", _answered(token), methods=["POST"]),
        Route("/userinfo", _answered(userinfo)),
        Route("/session/end", _answered(logout)),
    ]


def _answered(work: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            found = await work(request)
        except Wrong as wrong:
            found = JSONResponse({"error": wrong.error, "error_description": wrong.about}, wrong.status)
        found.headers["cache-control"] = "no-store"
        return found

    return answer


def _page(provider: Provider, number: str, acr: str) -> str:
    people = "".join(
        f'<p><button name="person" value="{escape(one.key)}">{escape(str(one.told["given_name"]))}'
        f" {escape(str(one.told['family_name']))}</button></p>"
        for one in provider.people.values()
        if one.most >= acr
    )
    return _PAGE.format(acr=escape(acr), number=escape(number), people=people)


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
