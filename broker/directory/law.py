"""Law: the rules and the purposes of one moment as the document that everybody may have (`schemas.law`).

Refuses: nothing.
Keeps: every rule that was ever approved is in it, ended ones too, as it is now, and every purpose that can be named.
"""

from collections.abc import Iterable, Mapping

from broker.directory import purposes as purpose_rows
from broker.directory.purposes import Added
from broker.directory.rules import rule_digest
from consent.purposes import CATALOGUE, PurposeEntry
from consent.rules import Rule
from schemas.law import Law, LawPurpose, LawRule
from schemas.names import Purpose


def law_of(rules: Iterable[Rule], added: Iterable[Added]) -> Law:
    """The document. `added`: purposes, approved or not."""
    approved: Mapping[Purpose, Added] = {one.entry.id: one for one in added if one.approved_at is not None}
    own = [_purpose(one, None) for one in CATALOGUE.values()]
    theirs = [_purpose(one.entry, purpose_rows.digest_of(one).hex()) for one in approved.values()]
    return Law.of([*own, *theirs], [told for one in rules if (told := _rule(one)) is not None])


def _purpose(entry: PurposeEntry, detail: str | None) -> LawPurpose:
    return LawPurpose(
        id=entry.id,
        version=entry.version,
        families=tuple(sorted(family.value for family in entry.families)),
        label_fr=entry.label["fr"],
        label_en=entry.label["en"],
        sentence_fr=entry.sentence["fr"],
        sentence_en=entry.sentence["en"],
        legal_fr=entry.legal["fr"],
        legal_en=entry.legal["en"],
        retention_fr=entry.retention["fr"],
        retention_en=entry.retention["en"],
        contact=entry.contact,
        detail=detail,
    )


def _rule(rule: Rule) -> LawRule | None:
    if rule.approved_at is None or rule.acts_from is None:  # asked for, and nothing to anybody
        return None
    return LawRule(
        id=rule.id,
        recipient=rule.recipient,
        event_type=rule.event_type,
        purpose=rule.purpose,
        fields=tuple(sorted(rule.fields)),
        territories=None if rule.territories is None else tuple(sorted(rule.territories)),
        least_assurance=rule.least.assurance.value,
        least_quality=rule.least.quality.value,
        article=rule.article,
        objection=rule.objection,
        approved_at=rule.approved_at,
        acts_from=rule.acts_from,
        narrowed_at=rule.narrowed_at,
        ends_at=rule.ends_at,
        ended_at=rule.ended_at,
        detail=rule_digest(rule).hex(),
    )
