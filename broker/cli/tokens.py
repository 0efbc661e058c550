"""Commands about credentials: API tokens, pinned and followed keys of OAuth2 clients: `unefois token ...`.

Refuses: nothing of its own.
Keeps: nothing of its own; `broker.services.clients` does it. A token is printed when it is issued and never again.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import command, say
from broker.cli.session import at_home, read_file
from broker.cli.show import answer, each, line, pairs, table

if TYPE_CHECKING:
    from broker.access.credentials import Credential, Scope
    from broker.access.keysets import KeySet
    from broker.access.oauth import ClientKey
    from broker.setup.wiring import Home
    from schemas.names import PartyId

app = typer.Typer(
    no_args_is_help=True, help="How administrations are let in: API tokens, and pinned keys of OAuth2 clients."
)

Scopes = Annotated[
    list[str] | None, typer.Option("--scope", help="publish, receive, subscribe, read or keys. Repeatable.")
]
OfParty = Annotated[str | None, typer.Option("--party", metavar="ID", help="Those of one administration.")]


@command(app, "issue")
def issue(
    party: Annotated[str, typer.Argument(metavar="PARTY", help="Whose token it is.")],
    *,
    scopes: Scopes = None,
    days: Annotated[int, typer.Option("--days", min=1, max=400, help="How long it is good.")] = 90,
) -> None:
    """A new token. It is shown now and never again: send it to the administration by a way that nobody reads.

    Example: unefois token issue urn:fr:siret:21440109300015 --scope receive --scope read --days 30
    """
    from broker.services import clients
    from schemas.names import PartyId

    wanted = _wanted(scopes or [])
    issued = at_home(lambda home: clients.issue(home, PartyId(party), wanted, days))
    told = _shape(issued.credential) | {"token": issued.token}

    def text() -> None:
        _show(told)
        line(say("Il ne sera plus montré.", "It will not be shown again."))

    answer(told, text)


@command(app, "list")
def list_tokens(party: OfParty = None) -> None:
    """Every token, without its secret, and when it was last used.

    Example: unefois token list --party urn:fr:siret:21440109300015
    """
    from broker.services import clients

    async def work(home: "Home") -> list[dict[str, Any]]:
        from broker.shapes import time_of

        used = await clients.last_used(home)
        return [_shape(one) | {"last_used_at": time_of(used.get(one.id))} for one in await clients.tokens(home, mine)]

    mine = _of(party)
    found = at_home(work)
    columns = [say("jeton", "token"), say("administration", "party"), say("droits", "scopes")]
    columns += [say("échéance", "expires"), say("révoqué", "revoked"), say("dernier usage", "last used")]
    names = ("id", "party", "scopes", "expires_at", "revoked_at", "last_used_at")

    def text() -> None:
        table(columns, [[_words(one[name]) for name in names] for one in found])

    answer({"tokens": found}, text)


@command(app, "uses")
def uses(
    credential: Annotated[
        str,
        typer.Argument(metavar="ID", help="As `token list` shows it, or, of a pinned key, `token keys`."),
    ],
) -> None:
    """From where a token or a pinned key was used, and when: the newest address first. Exact to ten minutes.

    Example: unefois token uses 3f9c2b7a10d4e5f6
    """
    from broker.services import clients
    from broker.shapes import time_of

    wanted = _any_id(credential)
    found = [
        {"address": one.address, "first_at": time_of(one.first_at), "last_at": time_of(one.last_at)}
        for one in at_home(lambda home: clients.uses(home, wanted))
    ]
    columns = [say("adresse", "address"), say("première fois", "first"), say("dernière fois", "last")]

    def text() -> None:
        if not found:
            line(say("Jamais utilisé.", "Never used."))
            return
        table(columns, [list(one.values()) for one in found])

    answer({"id": wanted.hex(), "uses": found}, text)


@command(app, "revoke")
def revoke(token: Annotated[str, typer.Argument(metavar="ID", help="As `unefois token list` shows it.")]) -> None:
    """Take a token no more, from the next request on.

    Example: unefois token revoke 3f9c2b7a10d4e5f6
    """
    from broker.services import clients

    wanted = _id(token)
    _tell(_shape(at_home(lambda home: clients.revoke(home, wanted))))


@command(app, "pin")
def pin(
    party: Annotated[str, typer.Argument(metavar="PARTY", help="For whom the key speaks.")],
    key: Annotated[Path, typer.Argument(metavar="JWK", help="Its public key, Ed25519 or P-256, one JWK in a file.")],
    *,
    scopes: Scopes = None,
) -> None:
    """Trust a client's public key: with it, the administration gets access tokens at /oauth2/token.

    Example: unefois token pin urn:fr:siret:21440109300015 client.jwk --scope receive --scope read
    """
    from broker.services import clients
    from schemas.names import PartyId

    jwk, wanted = read_file(key), _wanted(scopes or [])
    _tell(_key(at_home(lambda home: clients.pin(home, PartyId(party), jwk, wanted))))


@command(app, "keys")
def keys(party: OfParty = None) -> None:
    """Every pinned key, and every address that is followed. `kid` is what the client has to call its key.

    Example: unefois token keys
    """
    from broker.services import clients

    pinned, followed = at_home(lambda home: clients.keys(home, _of(party)))
    found = {"keys": [_key(one) for one in pinned], "followed": [_followed(one) for one in followed]}

    answer(found, lambda: each([*found["keys"], *found["followed"]], _show))


@command(app, "unpin")
def unpin(kid: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `unefois token keys` shows it.")]) -> None:
    """Trust a client's key no more. What it got before ends within ten minutes.

    Example: unefois token unpin 8f0c...
    """
    from broker.services import clients
    from schemas.names import Kid

    parsed = Kid.parse(kid)
    _tell(_key(at_home(lambda home: clients.unpin(home, parsed))))


@command(app, "follow")
def follow(
    party: Annotated[str, typer.Argument(metavar="PARTY", help="For whom the keys speak.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Where it publishes them, as a JWK Set; https.")],
    *,
    scopes: Scopes = None,
) -> None:
    """Trust the client keys that an administration publishes at an address: it renews them there without asking.

    What is there now is looked at once, and told; what is wrong with it does not keep the address from being followed.

    Example: unefois token follow urn:fr:siret:21440109300015 https://agency.example.fr/jwks.json --scope receive
    """
    from broker.services import clients
    from schemas.names import PartyId

    wanted = _wanted(scopes or [])
    made = at_home(lambda home: clients.follow(home, PartyId(party), url, wanted))
    _tell(_followed(made.address) | {"published": made.published, "trouble": made.trouble})


@command(app, "unfollow")
def unfollow(party: Annotated[str, typer.Argument(metavar="PARTY", help="For whom the keys spoke.")]) -> None:
    """Trust the keys at its address no more. What it got before ends within ten minutes.

    Example: unefois token unfollow urn:fr:siret:21440109300015
    """
    from broker.services import clients
    from schemas.names import PartyId

    _tell(_followed(at_home(lambda home: clients.unfollow(home, PartyId(party)))))


def _tell(told: dict[str, Any]) -> None:
    answer(told, lambda: _show(told))


def _of(party: str | None) -> "PartyId | None":
    from schemas.names import PartyId

    return None if party is None else PartyId(party)


def _followed(one: "KeySet") -> dict[str, Any]:
    from broker.shapes import time_of

    return _may(one) | {"url": one.url, "added_at": time_of(one.added_at)}


def _key(one: "ClientKey") -> dict[str, Any]:
    from broker.shapes import time_of

    return _may(one) | {"id": one.kid.hex(), "kid": one.name, "added_at": time_of(one.added_at)}


def _wanted(scopes: list[str]) -> "list[Scope]":
    from broker.access.credentials import Scope

    known = {scope.value: scope for scope in Scope}
    for scope in scopes:
        if scope not in known:
            raise typer.BadParameter("publish, receive, subscribe, read or keys", param_hint="--scope")
    return [known[scope] for scope in scopes]


def _shape(one: "Credential") -> dict[str, Any]:
    from broker.shapes import time_of

    times = {"issued_at": time_of(one.issued_at), "expires_at": time_of(one.expires_at)}
    return _may(one) | {"id": one.id.hex()} | times


def _may(one: "Credential | ClientKey | KeySet") -> dict[str, Any]:
    """What whatever lets somebody in has: whom, for what, until when."""
    from broker.shapes import time_of

    scopes = sorted(scope.value for scope in one.scopes)
    return {"party": one.party, "scopes": scopes, "revoked_at": time_of(one.revoked_at)}


def _id(text: str) -> bytes:
    """Also from a whole token, as it was once shown: whoever finds one can have it revoked."""
    parts = text.split("_")
    try:
        raw = bytes.fromhex(parts[1] if len(parts) > 1 else parts[0])
    except ValueError:
        raw = b""
    if len(raw) != 8:
        raise typer.BadParameter("16 hexadecimal digits are needed, as `unefois token list` shows them")
    return raw


def _any_id(text: str) -> bytes:
    """Of a token, or of a pinned key: its thumbprint."""
    from schemas.names import Kid

    return Kid.parse(text) if len(text) == 64 else _id(text)


def _show(told: dict[str, Any]) -> None:
    words = {"id": say("identifiant", "id"), "party": say("administration", "party"), "scopes": say("droits", "scopes")}
    words |= {"expires_at": say("échéance", "expires"), "revoked_at": say("révoqué", "revoked")}
    words |= {"token": say("jeton", "token"), "kid": "kid", "url": say("adresse", "url")}
    words |= {"published": say("noms de clés publiés", "key names published"), "trouble": say("ennui", "trouble")}
    pairs([(word, _words(told[name])) for name, word in words.items() if name in told])


def _words(told: Any) -> Any:
    return ", ".join(told) if isinstance(told, list) else told
