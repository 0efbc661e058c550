"""Commands about the broker's own people: `unefois operator ...`: who has an account, for what, and who did what.

Refuses: a private key on the command line, where it is seen.
Keeps: nothing of its own; `broker.services.accounts` does it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.acting import key_in, who
from broker.cli.frame import command, say
from broker.cli.session import at_home, instant, settings
from broker.cli.show import answer, each, line, pairs, table

if TYPE_CHECKING:
    from broker.access.operators import Account, Login
    from broker.setup.wiring import Home

app = typer.Typer(no_args_is_help=True, help="The broker's own people: who has an account, for what, and who did what.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, dots, dashes: anne.martin")]
RolesOption = Annotated[
    list[str] | None, typer.Option("--role", help="operator, approver, auditor, dpo, support. Repeatable.")
]
KeyOption = Annotated[
    str | None, typer.Option("--key", metavar="KEY", help="The public key, as `unefois operator key` prints it.")
]
IssuerOption = Annotated[
    str | None, typer.Option("--issuer", metavar="URL", help="OpenID Connect: who signs their ID tokens; https://...")
]
SubjectOption = Annotated[str | None, typer.Option("--subject", metavar="SUB", help="Their `sub` at this issuer.")]


@command(app, "key")
def key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Made here; never written over. Keep it to yourself.")],
) -> None:
    """Make a key to act with, Ed25519, and print its public half. With a file that is there, print it again.

    Example: unefois operator key ~/.config/unefois/anne.key
    """
    from connectors import key_files

    if not file.exists():
        key_files.write(file, key_files.new("ed25519"))
    public = key_files.public(key_in(file))
    answer({"file": str(file), "key": public}, lambda: line(public))


@command(app, "add")
def add(
    name: NameArgument,
    *,
    roles: RolesOption = None,
    public: KeyOption = None,
    issuer: IssuerOption = None,
    subject: SubjectOption = None,
) -> None:
    """Give somebody an account. From the first one on, every command that acts asks who acts: `--as FILE`.

    The first has the role operator: else nobody could add another.

    Example: unefois operator add anne.martin --role operator --role dpo --key "ed25519 6f2c..."
    """
    from broker.access.roles import parse
    from schemas.names import OperatorName

    wanted, raw, login = parse(roles or ()), _public(public), _login(issuer, subject)

    async def work(home: "Home") -> dict[str, Any]:
        from broker.services import accounts

        return _told(await accounts.add(home, OperatorName(name), wanted, public=raw, login=login))

    told = at_home(work)
    answer(told, lambda: _show(told))


@command(app, "change")
def change(
    name: NameArgument,
    *,
    roles: RolesOption = None,
    public: KeyOption = None,
    issuer: IssuerOption = None,
    subject: SubjectOption = None,
) -> None:
    """Give an account other roles, another key, another sign-in. What is not said stays; --role says all of them.

    Example: unefois operator change anne.martin --key "ed25519 0b71..."
    """
    from broker.access.roles import parse
    from schemas.names import OperatorName

    wanted = None if not roles else parse(roles)
    raw, login = _public(public), _login(issuer, subject)
    if wanted is None and raw is None and login is None:
        raise typer.BadParameter("say what is to be another", param_hint="--role, --key, --issuer")

    async def work(home: "Home") -> dict[str, Any]:
        from broker.services import accounts

        return _told(await accounts.change(home, OperatorName(name), wanted, public=raw, login=login))

    told = at_home(work)
    answer(told, lambda: _show(told))


@command(app, "end")
def end(name: NameArgument) -> None:
    """Somebody leaves: the account does nothing any more, from now on and for ever; the name is never used again.

    Example: unefois operator end anne.martin
    """
    from schemas.names import OperatorName

    async def work(home: "Home") -> dict[str, Any]:
        from broker.services import accounts

        return _told(await accounts.end(home, OperatorName(name)))

    told = at_home(work)
    answer(told, lambda: _show(told))


@command(app, "recover")
def recover(name: NameArgument, public: Annotated[str, typer.Option("--key", metavar="KEY")]) -> None:
    """An account with the role operator, when nobody's key is left: by whoever holds the home, and its key folder.

    Nobody is asked, so the ledger says that nobody was: `unefois operator acts` shows it for as long as it keeps acts.

    Example: unefois operator recover anne.martin.again --key "ed25519 0b71..."
    """
    from broker.access.roles import Role
    from schemas.names import OperatorName

    raw = _public(public)

    async def work(home: "Home") -> dict[str, Any]:
        from broker.services import accounts

        return _told(await accounts.add(home, OperatorName(name), frozenset({Role.OPERATOR}), public=raw, login=None))

    told = at_home(work)
    answer(told, lambda: _show(told))


@command(app, "list")
def list_accounts() -> None:
    """Every account: its roles, how it is proven, since when, and until when.

    Example: unefois operator list
    """

    async def work(home: "Home") -> list[dict[str, Any]]:
        from broker.services import accounts

        return [_told(one) for one in await accounts.listed(home)]

    found = at_home(work)
    answer({"operators": found}, lambda: each(found, _show))


@command(app, "whoami")
def whoami() -> None:
    """Whose key or session this is, and what it may do. Exit code 3 where nobody's.

    Example: unefois operator whoami --as ~/.config/unefois/anne.key
    """

    async def work(home: "Home") -> dict[str, Any] | None:
        from broker.services import accounts

        found = await accounts.whoami(home, lambda keys: who(settings(), keys))
        return None if found is None else _told(found)

    told = at_home(work)
    nobody = say("Personne n'a de compte ici.", "Nobody has an account here.")
    answer({"operator": told}, lambda: line(nobody) if told is None else _show(told))


@command(app, "acts")
def acts(
    *,
    operator: Annotated[str | None, typer.Option("--operator", metavar="NAME", help="Of this account alone.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="WHEN", help="A day (UTC) or an instant.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")] = 200,
) -> None:
    """Who did what, the newest first, with the kinds of the ledger's entries that came of it.

    Example: unefois operator acts --operator anne.martin --since 2026-11-01
    """
    from schemas.names import OperatorName

    start = None if since is None else instant(since, end_of_day=False)
    whose = None if operator is None else OperatorName(operator)

    async def work(home: "Home") -> list[dict[str, Any]]:
        from broker.services import acts as services
        from broker.shapes import time_of

        found = await services.newest(home, operator=whose, since=start, limit=limit)
        return [
            {
                "at": time_of(one.at),
                "operator": one.operator,
                "act": one.act,
                "kinds": list(kinds),
                "entries": [leaf.hex() for leaf in one.entries],
                "request": one.request,
            }
            for one, kinds in found
        ]

    found = at_home(work)
    columns = [say("quand", "when"), say("qui", "who"), say("acte", "act"), say("avec", "with"), say("faits", "facts")]

    def text() -> None:
        rows = [
            (one["at"], one["operator"], one["act"], (one["request"] or {}).get("by"), ", ".join(one["kinds"]))
            for one in found
        ]
        table(columns, rows)

    answer({"acts": found}, text)


def _public(text: str | None) -> bytes | None:
    from connectors.key_files import parse_public
    from schemas.errors import Refused
    from schemas.signing import Algorithm

    if text is None:
        return None
    kind, raw = parse_public(text)
    if kind is not Algorithm.ED25519:
        raise Refused("key-file.public", "/key")
    return raw


def _login(issuer: str | None, subject: str | None) -> "Login | None":
    from broker.access.operators import Login

    if (issuer is None) is not (subject is None):
        raise typer.BadParameter("go together", param_hint="--issuer, --subject")
    return None if issuer is None or subject is None else Login(issuer, subject)


def _told(one: "Account") -> dict[str, Any]:
    from broker.shapes import time_of

    return {
        "name": one.name,
        "roles": sorted(role.value for role in one.roles),
        "key": None if one.public is None else f"ed25519 {one.public.hex()}",
        "issuer": None if one.login is None else one.login.issuer,
        "subject": None if one.login is None else one.login.subject,
        "added_at": time_of(one.added_at),
        "changed_at": time_of(one.changed_at),
        "ended_at": time_of(one.ended_at),
    }


def _show(told: dict[str, Any]) -> None:
    line(told["name"])
    pairs(
        [
            (say("rôles", "roles"), ", ".join(told["roles"])),
            (say("clé", "key"), told["key"]),
            (say("se connecte par", "signs in at"), told["issuer"]),
            (say("sous", "as"), told["subject"]),
            (say("depuis", "since"), told["added_at"]),
            (say("modifié", "changed"), told["changed_at"] if told["changed_at"] != told["added_at"] else None),
            (say("jusqu'à", "until"), told["ended_at"]),
        ],
        indent=2,
    )
