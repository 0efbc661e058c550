"""Delivering: a table, a file and an HTTP server get what they may; then what each one holds, side by side.

Refuses: nothing.
Keeps: what is shown is read from the agencies' own systems, and compared with what the ledger says they were handed.
"""

import json
import re
from collections.abc import Mapping
from http.client import HTTPConnection
from urllib.parse import urlsplit

from rich.text import Text

from broker.cli.demo import cast, systems
from broker.cli.demo.acts.declaring import Declared, readable
from broker.cli.demo.cast import ADMINISTRATIONS
from broker.cli.demo.facts import facts_of, of_kind
from broker.cli.demo.stage import Stage
from broker.flow.arrived import Accepted
from broker.flow.deliveries import load
from schemas.facts import FactKind
from schemas.names import DeclarationId, PartyId
from schemas.release import LockedDelivery, indices

_FRENCH_DATE = re.compile(r"\d\d/\d\d/\d{4}")


async def deliver(stage: Stage, declared: Declared) -> None:
    """Every connector turns once, and once more; the receiver is told, and somebody else tries to tell it."""
    reports = await stage.deliver()
    _show(stage)
    applied = await applied_by(stage, declared.accepted.declaration_id)
    expected = {each.party for each in ADMINISTRATIONS if each.key != "energy"}
    stage.claim("deliver.applied", held=applied == expected, count=len(applied))
    one_each = all(len(systems.rows(stage, each.key)) == 1 for each in ADMINISTRATIONS if each.key != "energy")
    stage.claim("deliver.tables", held=one_each and all(len(each.applied) == 1 for each in reports.values()))
    _claim_csv(stage)
    await _claim_webhook(stage)
    again = await stage.deliver()
    nothing_new = all(each.pulled == 0 for each in again.values())
    still = all(len(systems.rows(stage, each.key)) == 1 for each in ADMINISTRATIONS if each.key != "energy")
    stage.claim("deliver.once", held=nothing_new and still)


async def compare(stage: Stage, declared: Declared) -> None:
    """One row for each field, one column for each administration."""
    event = stage.home.catalogue.by_type(cast.ADDRESS)
    language = stage.words.language
    held = {each.key: systems.held(stage, each.key) for each in ADMINISTRATIONS}
    anyone = [name for name in event.names if any(name in each for each in held.values())]
    rows = [
        [Text(event.field(name).label[language]), *(_cell(held[each.key].get(name)) for each in ADMINISTRATIONS)]
        for name in anyone
    ]
    nobody = len(event.names) - len(anyone)
    rows.append([Text(stage.words("compare.others", count=nobody), "italic"), *[_cell(None)] * len(ADMINISTRATIONS)])
    stage.telling.matrix([stage.words("compare.field"), *(each.short[language] for each in ADMINISTRATIONS)], rows)
    released = await _released(stage, declared.accepted)
    same = all(set(held[each.key]) == released.get(each.party, set()) for each in ADMINISTRATIONS)
    stage.claim("compare.exactly", held=same, evidence=stage.words("compare.bitmap"))
    carried = await _carried(stage, declared.accepted.declaration_id)
    stage.claim("compare.carried", held=carried == released, evidence=_counts(stage, carried))
    references = _references(stage)
    stage.claim("compare.unlinkable", held=len(set(references)) == len(references) == 5, count=len(references))
    found, _ = readable(stage.root, cast.SECRETS)
    in_energy, _ = readable(stage.folder("energy"), cast.SECRETS)
    nothing = not in_energy and not await stage.home.inbox(cast.by_key("energy").party).ready(10)
    stage.claim("compare.nobody", held=nothing and {"Korrigal", cast.STREET} <= found)


async def applied_by(stage: Stage, declaration: DeclarationId) -> set[PartyId]:
    """Whose systems took this declaration, by the ledger's word."""
    async with stage.home.store.read() as tx:
        ours = {each.id for each in await load(tx) if each.declaration_id == declaration}
    facts = of_kind(await facts_of(stage.home), FactKind.APPLIED)
    return {fact.facts.actor for fact in facts if fact.facts.delivery in ours}


def _show(stage: Stage) -> None:
    (rennes,) = systems.rows(stage, "rennes")
    stage.telling.say(stage.words("deliver.table", place="rennes/town.db", table="arrivees"))
    chosen = ("nom", "prenoms", "date_effet", "voie", "code_postal", "ville")
    stage.telling.lines([" | ".join(str(rennes.get(name)) for name in chosen)])
    (content,) = systems.csv_files(stage.folder("family") / "moves")
    stage.telling.say(stage.words("deliver.file", place="family/moves/adresses-000001.csv"))
    stage.telling.lines(content.decode("iso-8859-1").splitlines())
    stage.telling.say(stage.words("deliver.http", place=stage.doorbell.url))
    stage.telling.lines([stage.doorbell.heard[-1].decode()])


def _claim_csv(stage: Stage) -> None:
    """ISO-8859-1 and not UTF-8, cells separated by `;`, lines that end in CRLF, days before months."""
    (content,) = systems.csv_files(stage.folder("family") / "moves")
    (row,) = systems.csv_rows(content)
    dates = [row["DATE_NAISSANCE"], row["DATE_EFFET"]]
    right = (
        "Maëlle".encode("iso-8859-1") in content
        and "Maëlle".encode() not in content
        and content.count(b"\r\n") == content.count(b"\n") == 2
        and all(_FRENCH_DATE.fullmatch(each) for each in dates)
    )
    stage.claim("deliver.csv", held=right, evidence=f"{row['PRENOM']}; {'; '.join(dates)}")


async def _claim_webhook(stage: Stage) -> None:
    """The message verified, tells nothing of the citizen, and a changed one is turned away."""
    body = stage.doorbell.heard[-1]
    told = json.loads(body)
    thin = set(told) == {"type", "timestamp", "data"} and set(told["data"]) == {"delivery_id", "event_type"}
    silent = not any(word.encode() in body for word in cast.SECRETS)
    kept = stage.health.kept()
    stage.claim("deliver.webhook", held=thin and silent and len(kept) == 1, evidence=told["data"]["delivery_id"])
    before = len(stage.doorbell.heard)
    answer = _post(stage.doorbell.url, body.replace(b"ready", b"gone!"))
    stage.claim("deliver.forged_call", held=answer == 401 and len(stage.doorbell.heard) == before, answer=answer)


def _post(url: str, body: bytes) -> int:
    """The answer to a message that nobody signed."""
    place = urlsplit(url)
    connection = HTTPConnection(place.hostname or "", place.port, timeout=5)
    try:
        headers = {"webhook-id": "x", "webhook-timestamp": "1", "webhook-signature": "v1a,AAAA"}
        connection.request("POST", place.path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _cell(value: str | None) -> Text:
    return Text("WITHHELD", "dim") if value is None else Text(value)


async def _released(stage: Stage, accepted: Accepted) -> dict[PartyId, set[str]]:
    """recipient -> the fields whose keys it was given, by the bitmaps of the ledger's `released` entries."""
    names = stage.home.catalogue.by_type(cast.ADDRESS).names
    given: dict[PartyId, set[str]] = {}
    for fact in of_kind(await facts_of(stage.home), FactKind.RELEASED):
        entry = fact.facts
        if entry.declaration == accepted.digest and entry.recipient is not None and entry.fields is not None:
            shown = {names[index] for index in indices(entry.fields, len(names))}
            given[entry.recipient] = given.get(entry.recipient, set()) | shown
    return given


async def _carried(stage: Stage, declaration: DeclarationId) -> dict[PartyId, set[str]]:
    """recipient -> the fields whose ciphertext is in its mailbox; the others are not there, not even sealed."""
    names = stage.home.catalogue.by_type(cast.ADDRESS).names
    async with stage.home.store.read() as tx:
        rows = [each for each in await load(tx) if each.declaration_id == declaration]
    carried: dict[PartyId, set[str]] = {}
    for row in rows:
        sealed = {names[each.index] for each in LockedDelivery.decode(row.locked).fields}
        carried[row.recipient] = carried.get(row.recipient, set()) | sealed
    return carried


def _counts(stage: Stage, carried: Mapping[PartyId, set[str]]) -> str:
    """`Nantes 4, Rennes 7 ... / 17`"""
    total = len(stage.home.catalogue.by_type(cast.ADDRESS).names)
    each = (f"{each.short[stage.words.language]} {len(carried.get(each.party, ()))}" for each in ADMINISTRATIONS)
    return f"{', '.join(each)} / {total}"


def _references(stage: Stage) -> list[str]:
    """What each administration calls Maëlle in its own system."""
    columns = {"nantes": "reference_usager", "rennes": "reference_usager", "tax": "reference_contribuable"}
    told = [systems.rows(stage, key)[-1][column] for key, column in columns.items()]
    return [*told, systems.rows(stage, "family")[-1]["REFERENCE"], stage.health.kept()[-1]["delivery"]["pseudonym"]]
