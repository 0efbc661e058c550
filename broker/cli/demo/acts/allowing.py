"""Allowing: Maëlle grants and refuses, a rule by law holds for everybody; and the dry run, which shows her what follows
before anything is sent.

Refuses: nothing.
Keeps: what is granted is what the cast says, field by field; the dry run is compared with it and writes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import func, select

from broker.cli.demo import cast
from broker.cli.demo.cast import ADMINISTRATIONS, Administration, Wanted
from broker.cli.demo.facts import facts_of
from broker.cli.demo.stage import Stage
from broker.consents.consents import GrantRequest, Recorded
from broker.flow.desk import DryRun
from broker.services import rules
from broker.services.consent_receipts import receipt_of, text_shown
from broker.store.tables import declarations, deliveries, log_record
from consent import purposes
from consent.basis import CONSENT
from consent.explain import Line, explain_reason
from consent.grant import Scope, Voice
from consent.policy import Permit
from consent.receipt import verify_receipt
from consent.rules import Rule
from schemas.errors import Refused
from schemas.names import Capacity, Channel, EventType, SubjectRef

Grants = Mapping[tuple[str, EventType], Recorded]
"""(administration, event type) -> the grant as it was recorded."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What stands after the first act: whose consents, and which."""

    subject: SubjectRef
    grants: Grants
    voice: Voice


async def allow(stage: Stage) -> Allowed:
    """Approve the rule that the law provides, give the consents, and keep a signed receipt of each."""
    subject = await stage.home.desk.subject(cast.move())
    grants: dict[tuple[str, EventType], Recorded] = {}
    enacted: list[Rule] = []
    for each in ADMINISTRATIONS:
        for wanted in each.wants:
            if wanted.article is not None:
                enacted.append(await enact(stage, each, wanted))
            elif wanted.granted:
                grants[each.key, wanted.event_type] = await _give(stage, subject, each, wanted)
    _tell_grants(stage)
    named = sum(len(recorded.grant.fields) for recorded in grants.values())
    asked = {(each.key, wanted.event_type): wanted.granted for each in ADMINISTRATIONS for wanted in each.wants}
    exact = all(recorded.grant.fields == set(asked[key]) for key, recorded in grants.items())
    told = stage.words("stage.fields", count=named)
    stage.claim("allow.named", held=exact and named > 0, count=len(grants), evidence=told)
    receipts = await _keep_receipts(stage, grants)
    stage.claim("allow.receipts", held=receipts == len(grants), count=receipts, evidence="ISO/IEC TS 27560, Ed25519")
    (rule,) = enacted
    refusal = await _try_objecting(stage, subject, rule)
    stage.claim("allow.law", held=refusal == "objections.not-provided", article=rule.article, evidence=refusal)
    return Allowed(subject, grants, voice_of(stage, ""))


async def rehearse(stage: Stage) -> DryRun:
    """Ask who would get what; nothing is written."""
    before = await _written(stage)
    dry = await stage.home.desk.explain(cast.PORTAL, cast.ADDRESS, cast.move())
    heads = [stage.words(key) for key in ("allow.who", "rehearse.what", "allow.word")]
    in_order = sorted(dry.lines, key=lambda line: ADMINISTRATIONS.index(_by_party(line)))
    stage.telling.table(heads, [_line(stage, line) for line in in_order], widest=(None, None, 17))
    after = await _written(stage)
    stage.claim("rehearse.nothing_written", held=before == after, evidence=", ".join(map(str, after)))
    shown = {
        line.subscription.recipient: set(line.decision.fields)
        for line in dry.lines
        if isinstance(line.decision, Permit)
    }
    granted = {
        each.party: set(wanted.granted)
        for each in ADMINISTRATIONS
        for wanted in each.wants
        if wanted.event_type == cast.ADDRESS and wanted.granted
    }
    stage.claim("rehearse.only_granted", held=shown == granted, count=len(shown), total=len(dry.lines))
    return dry


async def enact(stage: Stage, who: Administration, wanted: Wanted, *, objection: bool = False) -> Rule:
    """Nobody types a grant in anybody's name: what the law provides, holds for everybody."""
    asked = await rules.ask(
        stage.home,
        recipient=who.party,
        event_type=wanted.event_type,
        purpose=wanted.purpose,
        fields=wanted.granted,
        article=wanted.article or "",
        objection=objection,
    )
    return await rules.approve(stage.home, asked.id)


async def _give(stage: Stage, subject: SubjectRef, who: Administration, wanted: Wanted) -> Recorded:
    """The text that is shown is the one whose hash the grant keeps."""
    home, language = stage.home, stage.words.language
    async with home.store.read() as tx:
        recipient = await home.lookup.party(tx, who.party)
    text = text_shown(
        language,
        recipient,
        home.catalogue.by_type(wanted.event_type),
        fields=wanted.granted,
        purpose=purposes.by_id(wanted.purpose),
        basis=CONSENT,
        scope=Scope.STANDING,
        until=None,
    )
    wish = GrantRequest(
        subject=subject,
        recipient=who.party,
        event_type=wanted.event_type,
        purpose=wanted.purpose,
        fields=frozenset(wanted.granted),
        basis=CONSENT,
        voice=voice_of(stage, text),
    )
    return await home.consents.give(wish)


def voice_of(stage: Stage, text: str) -> Voice:
    """The citizen's own, on the text that was shown."""
    return Voice("self", Capacity.SELF, Channel.ONLINE, stage.words.language, sha256(text.encode()).digest())


def _tell_grants(stage: Stage) -> None:
    heads = [stage.words(f"allow.{name}") for name in ("who", "purpose", "fields", "word")]
    rows = []
    for each in ADMINISTRATIONS:
        for wanted in each.wants:
            label = purposes.by_id(wanted.purpose).label[stage.words.language]
            granted = stage.words("allow.of", granted=len(wanted.granted), asked=len(wanted.asks))
            rows.append((each.name[stage.words.language], label, granted, _word(stage, wanted)))
    stage.telling.table(heads, rows, widest=(None, None, None, 17))


def _word(stage: Stage, wanted: Wanted) -> str:
    if wanted.article is not None:
        return stage.words("allow.law_says", article=wanted.article)
    return stage.words("allow.hers" if wanted.granted else "allow.nobody")


async def _keep_receipts(stage: Stage, grants: Grants) -> int:
    """A receipt of each grant in `receipts/`; returns how many verify with the broker's public key and say the same."""
    home = stage.home
    async with home.store.read() as tx:
        directory = await home.lookup.directory(tx)
    public = directory.signing_key(home.keyring.signer(directory, home.party, home.clock()).kid)
    good = 0
    for (key, event_type), recorded in grants.items():
        receipt = await receipt_of(home, recorded)
        (stage.folder("receipts") / f"consent-{key}-{event_type.split('.')[2]}.json").write_bytes(receipt)
        content = verify_receipt(receipt, public.algorithm, public.public)
        good += (content.fields, content.ledger_entry) == (tuple(sorted(recorded.grant.fields)), recorded.entry)
    return good


async def _try_objecting(stage: Stage, subject: SubjectRef, rule: Rule) -> str:
    try:
        await rules.object_to(stage.home, subject, rule.id, reason="personal-situation", given_by="self")
    except Refused as fault:
        return fault.code
    return stage.words("stage.accepted")


def _line(stage: Stage, line: Line) -> tuple[str, str, str]:
    event = stage.home.catalogue.by_type(cast.ADDRESS)
    language = stage.words.language
    who = _by_party(line).name[language]
    if not isinstance(line.decision, Permit):
        nothing = stage.words("rehearse.nothing", why=explain_reason(line.decision.reason, language))
        return who, nothing, stage.words("allow.nobody")
    labels = ", ".join(event.field(name).label[language] for name in line.decision.fields)
    (wanted,) = (each for each in _by_party(line).wants if each.event_type == cast.ADDRESS)
    return who, labels, _word(stage, wanted)


def _by_party(line: Line) -> Administration:
    return next(each for each in ADMINISTRATIONS if each.party == line.subscription.recipient)


async def _written(stage: Stage) -> tuple[int, int, int, int]:
    """How many records, declarations, deliveries and ledger entries there are."""
    async with stage.home.store.read() as tx:
        counts = [
            (await tx.execute(select(func.count()).select_from(table))).scalar_one()
            for table in (log_record, declarations, deliveries)
        ]
    return counts[0], counts[1], counts[2], len(await facts_of(stage.home))
