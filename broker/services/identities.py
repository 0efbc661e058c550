"""Identities: a citizen who was given another name is joined with who they were, and parted again where that was wrong.

Refuses: what `broker.consents.linking` refuses; two dates of birth, which are compared here, while both identities are
at hand.
Keeps: nothing of the two identities but their references; whoever looks at a citizen's links is entered in the ledger.
"""

from collections.abc import Mapping
from typing import Any, Final

from broker.consents.linking import OPERATORS, Parted
from broker.directory.kin import Link
from broker.observability.observe import logger
from broker.people.pivot import same_birth
from broker.services.viewing import pivot_in, record_look, subject_of
from broker.setup.wiring import Home
from schemas.errors import Refused
from schemas.names import DeclarationId, EventType, LinkId, PartyId, SubjectRef, uuid_text

NAME_CHANGED: Final = "fr.unefois.name.changed.v1"
CORRECTED: Final = "fr.unefois.identity.corrected.v1"
_NEW: Final = {"family_name": "new_family_name", "given_names": "new_given_names", "gender": "new_gender"}


async def link(home: Home, old: object, new: object, *, evidence: str) -> Link:
    """Write down that an operator has seen the act by which `old` became `new`, each a parsed file. It joins nothing
    before `confirm`. Raises Refused: `desk.no-subject`, `identity.*`, `links.*`.
    """
    _check_births(old, new)
    kept, alias = await subject_of(home, old), await subject_of(home, new)
    return await home.linking.ask(kept, alias, evidence=evidence, asked_by=OPERATORS)


async def confirm(home: Home, of: LinkId) -> Link:
    """It will act `link_delay_hours` from now; both are told. Raises Refused `links.*`."""
    return await home.linking.confirm(of)


async def refuse(home: Home, subject: SubjectRef, of: LinkId) -> Parted:
    """One of the two says that the other is somebody else. Raises Refused `links.*`."""
    return await home.linking.refuse(of, subject)


async def unlink(home: Home, of: LinkId) -> Parted:
    """Give each their own back. What recipients had got by it is told: to be recalled. Raises Refused `links.*`."""
    return await home.linking.end(of)


async def every(home: Home) -> list[Link]:
    """Every link of identities, the oldest first."""
    return await home.linking.of()


async def of_person(home: Home, subject: SubjectRef) -> list[Link]:
    """The links of one citizen's identity, ended ones too; the look is recorded."""
    async with home.store.begin() as tx:
        record_look(home, tx, subject)
    return await home.linking.of(subject)


async def follow(
    home: Home, source: PartyId, event_type: EventType, record: Mapping[str, Any], declaration: DeclarationId
) -> Link | None:
    """The link that a declared change of name asks for; None for what changes no identity, and where there is none to
    be made. A source of `civil_status_sources` confirms it by its declaration.

    Called again for the same declaration it changes nothing. Crash before it: the same declaration, handed in again.
    """
    pair = _changed(event_type, record)
    if pair is None:
        return None
    old, new = pair
    try:
        _check_births(old, new)
        kept, alias = await subject_of(home, old), await subject_of(home, new)
        entitled = source in home.settings.civil_status_sources
        evidence = uuid_text(declaration)
        return await home.linking.ask(kept, alias, evidence=evidence, asked_by=source, entitled=entitled)
    except Refused as fault:  # the declaration goes its way all the same
        if fault.code != "links.itself":
            logger().warning("linking.not-asked", source=source, code=fault.code)
        return None


async def ask_beside(home: Home, source: PartyId, declaration: DeclarationId, old: object, new: object) -> None:
    """What a source elsewhere says beside its own declaration of a change: who that person was, and is. Nobody here can
    read it out of the declaration, which is sealed. Upkeep confirms it where `follow` would have.

    It answers nothing: whether somebody is known here is nobody's to learn by asking. Raises Refused:
    `tracking.unknown` for another source's, `links.not-routed-yet`, `links.no-change`, `links.another`,
    `links.birthdate`, `identity.*`.
    """
    kept, alias = await _reference(home, old, "/old"), await _reference(home, new, "/new")
    _check_births(old, new)
    track = await home.tracking.track(declaration)
    if track.source != source:
        raise Refused("tracking.unknown", "/id")
    if track.event_type is None:
        raise Refused("links.not-routed-yet", "/declaration")
    if track.event_type not in (NAME_CHANGED, CORRECTED):
        raise Refused("links.no-change", "/declaration", event_type=track.event_type)
    async with home.store.read() as tx:
        about = await home.tracking.whose(tx, declaration)
        kin = await home.lookup.kin(tx, [about], home.clock())
    if kept not in kin.of(about):
        raise Refused("links.another", "/old")
    try:
        await home.linking.ask(kept, alias, evidence=uuid_text(declaration), asked_by=source)
    except Refused as fault:
        logger().warning("linking.not-asked", source=source, code=fault.code)


async def _reference(home: Home, person: object, pointer: str) -> SubjectRef:
    try:
        return await subject_of(home, person)
    except Refused as fault:
        raise fault.under(pointer) from None


def _changed(event_type: EventType, record: Mapping[str, Any]) -> tuple[object, object] | None:
    """Who somebody was and who they are, where a record says both."""
    old = record.get("subject")
    if event_type == CORRECTED:
        return old, record.get("corrected")
    if event_type != NAME_CHANGED or not isinstance(old, Mapping):
        return None
    new = {name: record[field] for name, field in _NEW.items() if record.get(field)}
    return (old, {**old, **new}) if new else None


def _check_births(old: object, new: object) -> None:
    if not same_birth(pivot_in(old), pivot_in(new)):
        raise Refused("links.birthdate", "/new/birthdate")
