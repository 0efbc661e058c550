"""Commands about administrations: `unefois party ...`.

Refuses: nothing of its own.
Keeps: nothing of its own; `broker.services.parties` does it.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from broker.cli.frame import command, say
from broker.cli.session import at_home, instant
from broker.cli.show import answer, line, pairs, table

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from broker.services import parties
    from broker.setup.wiring import Home

app = typer.Typer(no_args_is_help=True, help="Administrations, the portal and the broker: who takes part.")


@command(app, "add")
def add(
    party: Annotated[str, typer.Argument(metavar="ID", help="urn:fr:siret:<14 digits> or urn:unefois:<name>")],
    *,
    name: Annotated[str, typer.Option(help="As citizens read it.")],
    sector: Annotated[str, typer.Option(help="Parties of one sector see one number for a citizen: family, tax ...")],
    address: Annotated[str, typer.Option(help="Postal address, told in consent receipts.")],
    contact: Annotated[str, typer.Option(help="How a citizen reaches it: an e-mail address, a page, a telephone.")],
    retention: Annotated[str, typer.Option(help="How long it keeps what it receives, in words.")],
    kind: Annotated[Literal["administration", "portal"], typer.Option(help="What it is here.")] = "administration",
    publishes: Annotated[list[str] | None, typer.Option(help="An event type that it may declare. Repeatable.")] = None,
    policy: Annotated[int, typer.Option(help="Its signature policy, 1 to 5: see above.")] = 1,
    suite: Annotated[
        Literal["mlkem768_x25519", "x25519", "none"] | None,
        typer.Option(help="What it opens deliveries with.", show_default="mlkem768_x25519"),
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY", help="A public key that it made itself, as for `add-key`. Repeatable."),
    ] = None,
) -> None:
    """Register an administration, with fresh keys kept here, or with `--key` with its own: then none is made here.

    Signature policies: 1 Ed25519, 2 ML-DSA-44, 3 ECDSA P-256, 4 Ed25519 and ML-DSA-44, 5 P-256 and ML-DSA-44.

    Example: unefois party add urn:fr:siret:21440109300015 --name "Ville de Nantes" --sector commune
    --address "2 rue de l'Hôtel de Ville, 44000 Nantes" --contact mairie@nantes.example --retention "2 ans"
    """
    from broker.directory.reading import PartyKind
    from broker.services import parties
    from connectors.key_files import parse_public
    from schemas.hpke import Suite
    from schemas.names import EventType, PartyId

    own = tuple(parse_public(key) for key in keys or ())
    if own and suite is not None:
        raise typer.BadParameter("with --key, none is made here: give the key that it opens with", param_hint="--suite")

    types = tuple(EventType(full_type(one)) for one in publishes or ())
    opens_with = None if suite == "none" else Suite[(suite or "mlkem768_x25519").upper()]

    def work(home: "Home") -> "Coroutine[Any, Any, parties.Registered]":
        return parties.enrol(
            home,
            PartyId(party),
            name=name,
            sector=sector,
            kind=PartyKind(kind),
            address=address,
            contact=contact,
            retention=retention,
            policy=policy,
            suite=opens_with,
            publishes=types,
            keys=own,
        )

    _tell(at_home(work))


@command(app, "list")
def list_parties() -> None:
    """Every party, with its keys, which of them are held here, and what it may declare.

    Example: unefois party list --json
    """
    from broker.services import parties

    found = [_shaped(one) for one in at_home(parties.every)]

    def text() -> None:
        for number, one in enumerate(found):
            if number:
                line("")
            _show_party(one)

    answer({"parties": found}, text)


@command(app, "edit")
def edit(
    party: Annotated[str, typer.Argument(metavar="ID")],
    *,
    name: Annotated[str | None, typer.Option(help="As citizens read it.")] = None,
    address: Annotated[str | None, typer.Option(help="Postal address, told in consent receipts.")] = None,
    contact: Annotated[
        str | None, typer.Option(help="How a citizen reaches it: an e-mail address, a page, a telephone.")
    ] = None,
    retention: Annotated[str | None, typer.Option(help="How long it keeps what it receives, in words.")] = None,
) -> None:
    """Change how a party is called and reached. Its sector is for ever: its numbers for citizens follow from it.

    Receipts that were given stay as they were.

    Example: unefois party edit urn:fr:siret:21440109300015 --contact mairie@nantes.example
    """
    from broker.services import parties
    from schemas.names import PartyId

    given = {"name": name, "address": address, "contact": contact, "retention": retention}
    changes = {each: told for each, told in given.items() if told is not None}
    if not changes:
        raise typer.BadParameter("say what changes", param_hint="--name")
    _tell(at_home(lambda home: parties.edit(home, PartyId(party), changes)))


@command(app, "behind")
def behind() -> None:
    """For whom something waits, pulling administrations too: how much, since when; who has waited longest comes first.

    Example: unefois party behind
    """
    from broker import shapes
    from broker.services import parties

    found = [
        {
            "party": one.party.id,
            "name": one.party.name,
            "contact": one.party.contact,
            "waiting": one.backlog.waiting,
            "handed_out": one.backlog.handed,
            "oldest_at": shapes.time_of(one.backlog.oldest_at),
            "dead_letters": one.backlog.dead_letters,
        }
        for one in at_home(parties.behind)
    ]
    columns = [say("administration", "party"), say("attend", "waiting"), say("remis", "handed out")]
    columns += [say("depuis", "since"), say("lettres mortes", "dead letters"), "contact"]
    names = ("party", "waiting", "handed_out", "oldest_at", "dead_letters", "contact")

    def text() -> None:
        if not found:
            line(say("Rien n'attend.", "Nothing waits."))
            return
        table(columns, [[one[name] for name in names] for one in found])

    answer({"behind": found}, text)


@command(app, "rotate")
def rotate(
    party: Annotated[str, typer.Argument(metavar="ID")],
    overlap_days: Annotated[
        int | None, typer.Option(min=1, help="How long the old keys stay good beside the new; else `key_overlap_days`.")
    ] = None,
) -> None:
    """New keys of the same kinds, made here; the old ones are good for a while more.

    Refused for a party that keeps its own keys: it renews them itself, or `party add-key` lists its next one.

    Example: unefois party rotate urn:fr:siret:21440109300015 --overlap-days 14
    """
    from broker.services import parties
    from schemas.names import PartyId

    made = at_home(lambda home: parties.rotate(home, PartyId(party), overlap_days))
    kids = [kid.hex() for kid in made]
    answer({"party": party, "keys": kids}, lambda: pairs([(say("nouvelle clé", "new key"), kid) for kid in kids]))


@command(app, "add-key")
def add_key(
    party: Annotated[str, typer.Argument(metavar="ID")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="Kind and hexadecimal public key, as its owner gives it.")],
) -> None:
    """List a public key that a party made itself and keeps: nothing private of it comes here.

    Its newest sealing key is the one that is sealed to. A key made here by `party add` can be revoked then.

    Example: unefois party add-key urn:fr:siret:21440109300015 "x25519 6f2c..."
    """
    from broker.services import parties
    from connectors.key_files import parse_public
    from schemas.names import PartyId

    own = parse_public(key)
    kid = at_home(lambda home: parties.add_key(home, PartyId(party), own)).hex()
    answer({"party": party, "key": kid}, lambda: pairs([(say("nouvelle clé", "new key"), kid)]))


@command(app, "revoke-key")
def revoke_key(
    kid: Annotated[str, typer.Argument(metavar="KID", help="64 hexadecimal digits, as `party list` shows them.")],
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Since when a thief has it: 2026-11-24T08:00:00Z. Default: now.")
    ] = None,
    confirmed: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Trust a key no more. What it signed before stays good, unless --since says otherwise.

    Example: unefois party revoke-key 5c0f... --since 2026-11-24T08:00:00Z --yes
    """
    from broker.services import parties
    from schemas.names import Kid

    start = None if since is None else instant(since, end_of_day=False)
    if not confirmed:
        typer.confirm(say("Révoquer pour toujours ?", "Revoke for ever?"), abort=True, err=True)

    parsed = Kid.parse(kid)
    at_home(lambda home: parties.revoke_key(home, parsed, start))
    answer({"revoked": kid}, lambda: line(say("Clé révoquée.", "Key revoked.")))


@command(app, "allow")
def allow(
    party: Annotated[str, typer.Argument(metavar="ID")],
    event_type: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="Without it, those that the last `party forbid` took away.")
    ] = None,
) -> None:
    """Let a party declare events of a type from now on, or again what `party forbid` took away.

    Example: unefois party allow urn:fr:siret:21440109300015 address.changed
    """
    from broker.services import parties
    from schemas.names import EventType, PartyId

    name = None if event_type is None else EventType(full_type(event_type))
    _tell(at_home(lambda home: parties.allow(home, PartyId(party), name)))


@command(app, "forbid")
def forbid(
    party: Annotated[str, typer.Argument(metavar="ID")],
    event_type: Annotated[
        str | None,
        typer.Argument(metavar="TYPE", help="Without it, every type: a source that floods, or is not itself."),
    ] = None,
    confirmed: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Accept nothing more of a type from a party, from this moment on. What was accepted goes its way.

    `party allow` gives the right again; without a type, all that was taken at once.

    Example: unefois party forbid urn:fr:siret:21440109300015 --yes
    """
    from broker.services import parties
    from schemas.names import EventType, PartyId

    if not confirmed:
        typer.confirm(say("Ne plus rien accepter ?", "Accept nothing more?"), abort=True, err=True)
    name = None if event_type is None else EventType(full_type(event_type))

    ended = at_home(lambda home: parties.forbid(home, PartyId(party), name))
    words = (say("n'est plus accepté", "not accepted any more"), ", ".join(ended))
    answer({"party": party, "ended": ended}, lambda: pairs([words]))


@command(app, "policy")
def demand(
    party: Annotated[str, typer.Argument(metavar="ID")],
    policy: Annotated[int, typer.Argument(metavar="POLICY", help="1 to 5, as for `party add`.")],
    start: Annotated[
        str | None, typer.Option("--from", metavar="WHEN", help="2026-12-24T08:00:00Z. Default: now.")
    ] = None,
) -> None:
    """Which signatures a party's declarations need. What is signed already has a day to arrive.

    Keys that it lacks are made here, where its others are kept here; another party lists its own with `add-key` first.

    Example: unefois party policy urn:fr:siret:21440109300015 4
    """
    from broker.services import parties
    from schemas.names import PartyId

    since = None if start is None else instant(start, end_of_day=False)
    made, now = at_home(lambda home: parties.demand(home, PartyId(party), policy, since))
    told = {"made": [kid.hex() for kid in made], **_shaped(now)}
    answer(told, lambda: _show_party(told))


def full_type(name: str) -> str:
    """`address.changed` for `fr.unefois.address.changed.v1`: what our own types may be called on the command line."""
    from schemas.names import event_name

    return event_name(name)


def _tell(one: "parties.Registered") -> None:
    told = _shaped(one)
    answer(told, lambda: _show_party(told))


def _shaped(one: "parties.Registered") -> dict[str, Any]:
    from broker.cli import shapes

    return shapes.party(one.party, one.directory, one.held)


def _show_party(told: dict[str, Any]) -> None:
    line(f"{told['id']}  {told['name']}")
    pairs(
        [
            (say("nature, secteur", "kind, sector"), f"{told['kind']}, {told['sector']}"),
            (say("adresse, contact", "address, contact"), f"{told['address']}; {told['contact']}"),
            (say("conservation", "retention"), told["retention"]),
            (
                say("déclare", "declares"),
                ", ".join(one["event_type"] for one in told["publishes"] if _runs(one)) or None,
            ),
            (say("signe selon", "signs by policy"), ", ".join(map(_policy, told["policies"])) or None),
        ],
        indent=2,
    )
    columns = [say("clé", "key"), say("usage", "use"), say("sorte", "kind"), say("du", "from"), say("au", "to")]
    if told["keys"]:
        names = ("kid", "use", "kind", "valid_from", "valid_to", "revoked_at")
        here, elsewhere = say("ici", "here"), say("ailleurs", "elsewhere")
        table(
            [*columns, say("révoquée", "revoked"), say("détenue", "held")],
            [[*(key[name] for name in names), here if key["held"] else elsewhere] for key in told["keys"]],
        )


def _runs(right: dict[str, Any]) -> bool:
    """Whether a right has no end: one that has is over, or about to be."""
    return right["to"] is None


def _policy(told: dict[str, Any]) -> str:
    return f"{told['policy']} ({say('depuis', 'since')} {told['from']})"
