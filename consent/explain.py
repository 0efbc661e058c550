"""Explain: a decision said in a sentence, and the dry run that shows every decision before anything is signed.

Refuses: to decide. The dry run calls the very `decide` that the router calls, so what it shows is what will happen.
Keeps: every reason has its sentence in French and English; a mandate is always told with its article of law.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from consent import purposes
from consent.basis import Basis, BasisKind
from consent.grant import Grant
from consent.policy import NO_RULES, DeclarationFacts, Deny, Permit, Subscription, decide
from consent.rules import Rule
from schemas.messages import Language
from schemas.names import Instant, PartyId, Purpose, Reason, RuleId, SubjectRef

_NO_LABELS: Mapping[str, str] = MappingProxyType({})

# Reason -> (French, English). "Administration" is the recipient; the citizen is "vous".
_REASONS: Mapping[Reason, tuple[str, str]] = MappingProxyType(
    {
        Reason.NO_GRANT: (
            "Vous ne l'avez pas autorisé, et aucune loi ne le prévoit.",
            "You have not allowed it, and no law provides for it.",
        ),
        Reason.NOT_YET: (
            "L'autorisation ne commence que plus tard.",
            "The authorisation only starts later.",
        ),
        Reason.EXPIRED: (
            "L'autorisation est arrivée à son terme.",
            "The authorisation has come to its end date.",
        ),
        Reason.PAUSED: (
            "Vous avez mis cette autorisation en pause ; vous pouvez la reprendre à tout moment.",
            "You have paused this authorisation; you can resume it at any time.",
        ),
        Reason.REVOKED: (
            "L'autorisation a été retirée.",
            "The authorisation has been withdrawn.",
        ),
        Reason.PURPOSE: (
            "Vous avez autorisé cette administration, mais pour une autre finalité.",
            "You have allowed this administration, but for another purpose.",
        ),
        Reason.ONCE_USED: (
            "Vous l'aviez autorisé pour une seule déclaration, et c'en était une autre.",
            "You had allowed it for a single declaration, and that was another one.",
        ),
        Reason.NO_FIELDS: (
            "Aucune des informations demandées par cette administration n'est couverte par l'autorisation.",
            "None of the information that this administration asks for is covered by the authorisation.",
        ),
        Reason.NARROWED: (
            "Vous avez réduit cette autorisation entre-temps : elle ne couvre plus ces informations.",
            "You have narrowed this authorisation in the meantime: it no longer covers this information.",
        ),
        Reason.NOT_APPROVED: (
            "Cette administration n'a pas été habilitée à recevoir ce type de déclaration.",
            "This administration has not been approved to receive this type of declaration.",
        ),
        Reason.ENDED: (
            "L'abonnement de cette administration à ce type de déclaration a pris fin.",
            "This administration's subscription to this type of declaration has ended.",
        ),
        Reason.TERRITORY: (
            "La déclaration ne concerne pas le territoire de cette administration.",
            "The declaration does not concern this administration's territory.",
        ),
        Reason.NOT_ORIGINAL_RECIPIENT: (
            "C'est une correction, et cette administration n'avait pas reçu la déclaration corrigée.",
            "This is a correction, and this administration did not receive the declaration that it corrects.",
        ),
        Reason.EPOCH_DESTROYED: (
            "La durée de conservation est écoulée : la déclaration ne peut plus être ouverte par personne.",
            "The retention period is over: nobody can open the declaration any more.",
        ),
        Reason.UNSOUND: (
            "L'autorisation conservée n'est pas celle qui a été donnée : rien ne part tant que ce n'est pas éclairci.",
            "The authorisation on file is not the one that was given: nothing goes out until that is cleared up.",
        ),
        Reason.OBJECTED: (
            "La loi le prévoit, et vous vous y êtes opposé ; vous pouvez retirer cette opposition à tout moment.",
            "The law provides for it, and you have objected; you can withdraw this objection at any time.",
        ),
        Reason.CANCELLED: (
            "Cette déclaration a été annulée : elle n'est plus transmise.",
            "This declaration was cancelled: it is not passed on any more.",
        ),
        Reason.RECALLED: (
            "L'administration qui l'avait transmise l'a rappelée : elle n'est plus transmise.",
            "The administration that had sent it has recalled it: it is not passed on any more.",
        ),
        Reason.STOPPED: (
            "Vous l'avez arrêtée avant qu'elle ne soit transmise.",
            "You stopped it before it was passed on.",
        ),
        Reason.ASSURANCE: (
            "Cette administration demande une identité ou une preuve plus sûre que celle de cette déclaration.",
            "This administration asks for a surer identity or proof than this declaration has.",
        ),
        Reason.UNKNOWN_SUBJECT: (
            "La personne concernée n'a pas pu être reconnue.",
            "The person concerned could not be recognised.",
        ),
        Reason.INVALID_ENVELOPE: (
            "La déclaration reçue est mal formée ; elle a été refusée.",
            "The declaration received is malformed; it was refused.",
        ),
        Reason.INVALID_SIGNATURE: (
            "La signature de la déclaration n'est pas valable ; elle a été refusée.",
            "The declaration's signature is not valid; it was refused.",
        ),
        Reason.NOT_ENTITLED: (
            "L'émetteur n'a pas le droit de faire ce type de déclaration ; elle a été refusée.",
            "The sender is not entitled to make this type of declaration; it was refused.",
        ),
        Reason.STALE: (
            "La déclaration est arrivée trop tard, ou porte une date dans le futur ; elle a été refusée.",
            "The declaration came too late, or is dated in the future; it was refused.",
        ),
        Reason.REPLAYED: (
            "Une autre déclaration porte déjà le même numéro ; celle-ci a été refusée.",
            "Another declaration already has the same number; this one was refused.",
        ),
        Reason.INVALID_DELIVERY: (
            "L'administration n'a pas pu vérifier ce qu'elle a reçu ; elle ne l'a pas utilisé.",
            "The administration could not verify what it received; it did not use it.",
        ),
        Reason.MAPPING: (
            "L'administration n'a pas su traduire la déclaration pour son logiciel.",
            "The administration could not translate the declaration for its software.",
        ),
        Reason.SYSTEM_REFUSED: (
            "Le logiciel de l'administration a refusé la déclaration.",
            "The administration's software refused the declaration.",
        ),
        Reason.PARKED: (
            "La remise a échoué plusieurs fois ; un agent va s'en occuper.",
            "The delivery failed several times; an agent will look into it.",
        ),
        Reason.TECHNICAL: (
            "Problème technique à l'administration ; un agent va s'en occuper.",
            "Technical problem at the administration; an agent will look into it.",
        ),
        Reason.UNKNOWN_PERSON: (
            "L'administration ne trouve personne à ces nom et date de naissance ; ajoutez votre numéro chez elle.",
            "The administration finds nobody by this name and date of birth; add your number there.",
        ),
        Reason.SEVERAL_PERSONS: (
            "L'administration trouve plusieurs personnes à ces nom et date de naissance ; ajoutez votre numéro là-bas.",
            "The administration finds several persons by this name and date of birth; add your number there.",
        ),
        Reason.DOCUMENT_NEEDED: (
            "L'administration attend une pièce de votre part.",
            "The administration waits for a document from you.",
        ),
        Reason.AWAITING_HUMAN: (
            "Un agent de l'administration doit décider.",
            "An agent of the administration has to decide.",
        ),
        Reason.PARTLY: (
            "L'administration a enregistré une partie de la déclaration.",
            "The administration has recorded a part of the declaration.",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a dry run."""

    subscription: Subscription
    decision: Permit | Deny


def dry_run(
    facts: DeclarationFacts,
    subscriptions: Sequence[Subscription],
    grants: Sequence[Grant],
    at: Instant,
    original_recipients: Collection[PartyId] | None = None,
    *,
    objects: Collection[tuple[PartyId, Purpose]] = (),
    rules: Mapping[RuleId, Rule] = NO_RULES,
    citizen: Collection[SubjectRef] = (),
) -> tuple[Line, ...]:
    """Who would get what, who would get nothing and why: a line for each subscription to this type, in the given order.

    `objects`: for which recipients and purposes the citizen objects to a rule by law. `rules`, `citizen`: as for
    `decide`.

    Raises what `decide` raises.
    """
    asked = (subscription for subscription in subscriptions if subscription.event_type == facts.event_type)
    return tuple(
        Line(
            each,
            decide(
                facts,
                each,
                grants,
                at,
                original_recipients,
                objects=(each.recipient, each.purpose) in objects,
                rules=rules,
                citizen=citizen,
            ),
        )
        for each in asked
    )


def explain_reason(reason: Reason, language: Language) -> str:
    """One reason as one sentence to the citizen."""
    french, english = _REASONS[reason]
    return french if language == "fr" else english


def explain(
    decision: Permit | Deny,
    facts: DeclarationFacts,
    subscription: Subscription,
    language: Language,
    *,
    recipient_name: str | None = None,
    field_labels: Mapping[str, str] = _NO_LABELS,
    among: purposes.Catalogue = purposes.CATALOGUE,
) -> str:
    """The decision in a sentence, two when it rests on two grants, with the article where a law is the basis.

    Without `recipient_name` the administration's identifier is shown, without a label the field's own name. `among`:
    every purpose that there is.
    """
    who = recipient_name or str(subscription.recipient)
    purpose = purposes.named(subscription.purpose, among).label[language]
    if isinstance(decision, Deny):
        return _NOTHING[language].format(who=who, purpose=purpose) + " " + explain_reason(decision.reason, language)
    prefix = _CORRECTION[language] if facts.corrects is not None else ""
    return " ".join(
        _SOMETHING[language].format(
            who=who,
            fields=prefix + _listed(share.fields, language, field_labels),
            purpose=purpose,
            because=_because(share.basis, language),
        )
        for share in decision.shares
    )


_NOTHING: Mapping[Language, str] = {
    "fr": "{who} ne recevra rien pour « {purpose} ».",
    "en": "{who} will receive nothing for “{purpose}”.",
}
_SOMETHING: Mapping[Language, str] = {
    "fr": "{who} recevra {fields} pour « {purpose} », {because}.",
    "en": "{who} will receive {fields} for “{purpose}”, {because}.",
}
_CORRECTION: Mapping[Language, str] = {"fr": "la correction de ", "en": "the correction of "}
_BY_CONSENT: Mapping[Language, str] = {"fr": "car vous l'avez autorisé", "en": "because you have allowed it"}
_BY_LAW: Mapping[Language, str] = {
    "fr": "car la loi le prévoit ({article})",
    "en": "because the law provides for it ({article})",
}
_BY_CHOICE: Mapping[Language, str] = {
    "fr": "car vous l'avez choisi, comme un texte le permet ({article})",
    "en": "because you have chosen it, as a text of law lets you ({article})",
}
_QUOTED: Mapping[Language, str] = {"fr": "« {} »", "en": "“{}”"}
_AND: Mapping[Language, str] = {"fr": " et ", "en": " and "}


def _listed(names: Sequence[str], language: Language, labels: Mapping[str, str]) -> str:
    quoted = [_QUOTED[language].format(labels.get(name, name)) for name in names]
    return _AND[language].join(part for part in (", ".join(quoted[:-1]), quoted[-1]) if part)


def _because(basis: Basis, language: Language) -> str:
    words = {BasisKind.CONSENT: _BY_CONSENT, BasisKind.CHOICE: _BY_CHOICE, BasisKind.LAW: _BY_LAW}
    return words[basis.kind][language].format(article=basis.article)
