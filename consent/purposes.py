"""Purposes: the closed catalogue of what an administration may want a declaration for, in words a citizen reads.

Refuses: a purpose that is not listed (`purposes.unknown`).
Keeps: every purpose has a label and one plain sentence in French and English, and says on which families of law it can
rest; a grant on any other basis is refused (`purposes.basis`).
Source: Regulation (EU) 2016/679 (GDPR), article 6(1); DPV's notion of purpose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import Purpose


class LegalFamily(Enum):
    """The bases of GDPR article 6(1) that an administration can rest on."""

    CONSENT = "consent"
    LEGAL_OBLIGATION = "legal-obligation"
    PUBLIC_TASK = "public-task"

    @property
    def gdpr(self) -> str:
        """The article of the GDPR, such as `6(1)(a)`."""
        return _GDPR[self]


_GDPR = {LegalFamily.CONSENT: "6(1)(a)", LegalFamily.LEGAL_OBLIGATION: "6(1)(c)", LegalFamily.PUBLIC_TASK: "6(1)(e)"}


@dataclass(frozen=True, slots=True)
class PurposeEntry:
    """One purpose: its label and its sentence by language, and the families of law it can rest on (never empty)."""

    id: Purpose
    label: Mapping[Language, str]
    sentence: Mapping[Language, str]
    families: frozenset[LegalFamily]

    @property
    def allows_consent(self) -> bool:
        """Whether a citizen may give, and withdraw, a consent for it."""
        return LegalFamily.CONSENT in self.families

    @property
    def allows_choice(self) -> bool:
        """Whether a text of law may let a citizen choose who hears: it is a public task of whoever is chosen, and not
        one in which the law alone decides.
        """
        return {LegalFamily.CONSENT, LegalFamily.PUBLIC_TASK} <= self.families

    @property
    def allows_law(self) -> bool:
        """Whether a text of law may impose it."""
        return bool(self.families & LAW)


LAW = frozenset({LegalFamily.LEGAL_OBLIGATION, LegalFamily.PUBLIC_TASK})
"""The families in which a text of law, not the citizen, decides."""

_ANY = frozenset(LegalFamily)
_CHOICE = frozenset({LegalFamily.CONSENT, LegalFamily.PUBLIC_TASK})

# id, families, label fr, label en, sentence fr, sentence en.
# Where the law alone decides, consent is left out on purpose: a consent that cannot be withheld is not free (GDPR,
# recital 43).
_ROWS = (
    (
        "family-benefits",
        _ANY,
        "Prestations familiales",
        "Family benefits",
        "Calculer et verser les prestations auxquelles votre famille a droit.",
        "Work out and pay the benefits that your family is entitled to.",
    ),
    (
        "health-insurance",
        _ANY,
        "Assurance maladie",
        "Health insurance",
        "Tenir à jour vos droits à l'assurance maladie et vous rembourser.",
        "Keep your health cover up to date and reimburse you.",
    ),
    (
        "retirement-pension",
        _ANY,
        "Retraite",
        "Retirement pension",
        "Préparer, calculer et verser votre retraite.",
        "Prepare, work out and pay your pension.",
    ),
    (
        "employment-support",
        _ANY,
        "Emploi et indemnisation du chômage",
        "Employment support and unemployment benefit",
        "Vous accompagner vers un emploi et vous indemniser.",
        "Help you towards a job and pay your unemployment benefit.",
    ),
    (
        "housing-support",
        _ANY,
        "Aides au logement",
        "Housing support",
        "Étudier vos droits à une aide au logement et la verser.",
        "Examine whether you are entitled to housing support and pay it.",
    ),
    (
        "social-assistance",
        _ANY,
        "Aide sociale et autonomie",
        "Social assistance and autonomy",
        "Étudier et suivre vos aides sociales, dont celles liées au handicap et à la perte d'autonomie.",
        "Examine and follow your social assistance, including for disability and loss of autonomy.",
    ),
    (
        "benefit-payment",
        _ANY,
        "Versement de sommes qui vous sont dues",
        "Payment of money owed to you",
        "Verser sur le bon compte l'argent que l'administration vous doit.",
        "Pay what the administration owes you into the right account.",
    ),
    (
        "income-tax",
        LAW,
        "Impôt sur le revenu",
        "Income tax",
        "Établir et recouvrer votre impôt sur le revenu.",
        "Assess and collect your income tax.",
    ),
    (
        "civil-status",
        LAW,
        "État civil",
        "Civil status",
        "Tenir les registres de l'état civil et délivrer leurs actes.",
        "Keep the civil registers and issue their certificates.",
    ),
    (
        "local-services",
        _CHOICE,
        "Services de votre commune",
        "Services of your commune",
        "Vous ouvrir les services de votre commune et vous tenir informé.",
        "Open your commune's services to you and keep you informed.",
    ),
    (
        "school-enrolment",
        _ANY,
        "Inscription scolaire",
        "School enrolment",
        "Inscrire vos enfants à l'école et organiser leurs activités.",
        "Enrol your children at school and organise their activities.",
    ),
    (
        "electoral-roll",
        _ANY,
        "Listes électorales",
        "Electoral roll",
        "Vous inscrire sur la liste électorale de votre commune.",
        "Enter you on the electoral roll of your commune.",
    ),
    (
        "vehicle-registration",
        _ANY,
        "Carte grise",
        "Vehicle registration",
        "Tenir à jour le certificat d'immatriculation de votre véhicule.",
        "Keep the registration certificate of your vehicle up to date.",
    ),
    (
        "energy-support",
        _ANY,
        "Aides à l'énergie",
        "Energy support",
        "Étudier vos droits au chèque énergie et aux aides à la rénovation.",
        "Examine whether you are entitled to help with energy bills and renovation.",
    ),
)


def _entry(row: tuple[str, frozenset[LegalFamily], str, str, str, str]) -> PurposeEntry:
    name, families, label_fr, label_en, sentence_fr, sentence_en = row
    label: Mapping[Language, str] = MappingProxyType({"fr": label_fr, "en": label_en})
    sentence: Mapping[Language, str] = MappingProxyType({"fr": sentence_fr, "en": sentence_en})
    return PurposeEntry(Purpose(name), label, sentence, families)


CATALOGUE: Mapping[Purpose, PurposeEntry] = MappingProxyType({entry.id: entry for entry in map(_entry, _ROWS)})
"""Every purpose there is, by id."""


def by_id(purpose: Purpose) -> PurposeEntry:
    """The purpose's entry. Raises Refused `purposes.unknown`."""
    try:
        return CATALOGUE[purpose]
    except KeyError:
        raise Refused("purposes.unknown", "/purpose", purpose=purpose) from None
