"""Attacking: a mistake, six forgeries, a replay and a swap, each stopped where it should be, with place and reason.

Refuses: nothing; the machine does.
Keeps: each attempt is genuine but for one thing, so that it is stopped by the check that it is meant for.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from rich.text import Text

from broker.cli.demo import cast
from broker.cli.demo.acts.declaring import Declared
from broker.cli.demo.facts import facts_of, of_kind
from broker.cli.demo.stage import Stage
from schemas.assurance import SURE
from schemas.catalogue import territories_of
from schemas.declaration import Source
from schemas.declaration import declare as sign
from schemas.delivery import ReleasedDelivery
from schemas.envelope import SignedDeclaration
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.messages import explain
from schemas.names import DeclarationId, Instant, uuid7
from schemas.signing import Algorithm, PrivateKey

_LONG_HEX = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: its sentence, what tries, and the code and pointer with which it must end."""

    key: str
    run: Callable[[], Awaitable[object]]
    code: str
    pointer: str


async def attack(stage: Stage, declared: Declared) -> None:
    """Try each, compare code and pointer; then replay, and swap a sealed field in transit."""
    home = stage.home
    before = len(of_kind(await facts_of(home), FactKind.REFUSED))
    attempts = await _attempts(stage, declared)
    ends = [await _end_of(attempt) for attempt in attempts]
    heads = (stage.words("attack.try"), stage.words("attack.where"))
    names = [stage.words(f"attack.{attempt.key}") for attempt in attempts]
    rows = [(name, _told(stage, fault)) for name, fault in zip(names, ends, strict=True)]
    stage.telling.table(heads, rows, widest=(30,))
    right = [
        fault is not None and (fault.code, fault.pointer) == (attempt.code, attempt.pointer)
        for attempt, fault in zip(attempts, ends, strict=True)
    ]
    unexpected = ", ".join(
        f"{attempt.key}: {fault}" for attempt, fault, good in zip(attempts, ends, right, strict=True) if not good
    )
    total = len(attempts)
    stage.claim("attack.refused", held=all(right), total=total, count=sum(right), evidence=unexpected)
    written = len(of_kind(await facts_of(home), FactKind.REFUSED)) - before
    stage.claim("attack.recorded", held=written == len(attempts) - 1, count=written)
    await _replay(stage, declared)
    await _swap(stage)


async def _attempts(stage: Stage, declared: Declared) -> tuple[Attempt, ...]:
    home = stage.home
    fresh = SignedDeclaration.decode(await home.desk.envelope(cast.PORTAL, cast.ADDRESS, cast.move()))
    again = await home.desk.envelope(
        cast.PORTAL, cast.ADDRESS, cast.move("9"), declaration_id=declared.accepted.declaration_id
    )
    payload = bytearray(fresh.payload)
    payload[-1] ^= 1  # one bit of the last field's digest
    altered = replace(fresh, payload=bytes(payload))
    once = replace(fresh, signatures=fresh.signatures[:1])
    rerouted = replace(fresh, slip=replace(fresh.slip, territories=(*fresh.slip.territories, "75056")))
    mistyped = cast.account(cast.IBAN[:-1] + "8")
    energy = cast.by_key("energy").party
    forged = await _forged(stage)
    type_ = "/payload/event_type"
    accept = home.intake.accept
    return (
        Attempt("mistyped", lambda: home.desk.declare(cast.PORTAL, cast.BANK, mistyped), "values.iban", "/iban"),
        Attempt("stranger", lambda: accept(forged), "directory.unknown-key", "/signatures/0/kid"),
        Attempt(
            "agency", lambda: home.desk.declare(energy, cast.ADDRESS, cast.move()), "directory.not-entitled", type_
        ),
        Attempt("altered", lambda: accept(altered.encode()), "manifest.signature", "/signatures/0"),
        Attempt("once", lambda: accept(once.encode()), "manifest.policy-not-met", "/signatures"),
        Attempt("rerouted", lambda: accept(rerouted.encode()), "envelope.slip", "/slip"),
        Attempt("reused", lambda: accept(again), "intake.id-reused", "/payload/declaration_id"),
    )


def _told(stage: Stage, fault: Refused | None) -> Text:
    """Where and why it was refused; a key's long name is cut."""
    if fault is None:
        return Text(stage.words("stage.accepted"), "bold red")
    why = _LONG_HEX.sub(r"\1…", explain(fault, stage.words.language).wrong)
    return Text.assemble((fault.pointer, "cyan"), "\n", why)


async def _end_of(attempt: Attempt) -> Refused | None:
    """How it was refused; None if it was not."""
    try:
        await attempt.run()
    except Refused as fault:
        return fault
    return None


async def _forged(stage: Stage) -> bytes:
    """A declaration in the portal's name, with keys that the forger made; everything else in it is genuine."""
    home = stage.home
    async with home.store.read() as tx:
        directory = await home.lookup.directory(tx)
    event, at, record = home.catalogue.by_type(cast.ADDRESS), home.clock(), cast.move("99")
    keys = (PrivateKey.generate(Algorithm.ED25519), PrivateKey.generate(Algorithm.ML_DSA_44))
    signed = sign(
        Source(cast.PORTAL, keys, cast.SIGNED_TWICE),
        event,
        record,
        subject_token=home.identity.token(await home.desk.subject(record), cast.PORTAL, Instant(at + 60_000)),
        territories=territories_of(event, record),
        gate=directory.current_sealing_key(directory.broker, at),
        at=at,
        lifetime_ms=60_000,
        declaration_id=DeclarationId(uuid7(at, home.entropy(10))),
        entropy=home.entropy,
    )
    return signed.encode()


async def _replay(stage: Stage, declared: Declared) -> None:
    """The same bytes again: the same receipt, nothing routed, one `received` entry as before."""
    home = stage.home
    again = await home.intake.accept(declared.envelope)
    routed = await home.router.route()
    received = [
        fact
        for fact in of_kind(await facts_of(home), FactKind.RECEIVED)
        if fact.facts.declaration == declared.accepted.digest
    ]
    same = again.receipt == declared.accepted.receipt and again.repeated
    stage.claim("attack.replay", held=same and routed == 0 and len(received) == 1)


async def _swap(stage: Stage) -> None:
    """Somebody on the way puts another sealed IBAN into a genuine declaration: only who can open it can see that."""
    home = stage.home
    genuine, other = [
        SignedDeclaration.decode(await home.desk.envelope(cast.PORTAL, cast.BANK, cast.account(), provenance=SURE))
        for _ in range(2)
    ]
    iban = home.catalogue.by_type(cast.BANK).field("iban")
    sealed = list(genuine.sealed_fields)
    sealed[iban.index] = other.sealed_fields[iban.index]
    before = len(stage.health.kept())
    await home.intake.accept(replace(genuine, sealed_fields=tuple(sealed)).encode())
    await home.router.route()
    await stage.ring()
    pointed = [_field(stage, released, fault) for released, fault in stage.health.refused]
    letters = [letter.code for letter in await home.dead_letters.list()]
    found = pointed == ["iban"] and len(stage.health.kept()) == before and len(letters) == 1
    label = iban.label[stage.words.language]
    stage.claim("attack.swapped", held=found, field=label, evidence=", ".join(map(str, letters)))


def _field(stage: Stage, released: ReleasedDelivery, fault: Refused) -> str:
    """The field of the schema that `/fields/<n>` of a locked delivery points to."""
    number = int(fault.pointer.split("/")[2])
    return stage.home.catalogue.by_type(cast.BANK).names[released.locked.fields[number].index]
