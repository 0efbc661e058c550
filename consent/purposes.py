"""Purposes: what an administration may want a declaration for, in words a citizen reads: the catalogue that comes with
the program, and the form of what an operator adds (`broker.directory.purposes`).

Refuses: a purpose that is not listed (`purposes.unknown`); one that says nothing in one of the two languages.
Keeps: every purpose has a label and one plain sentence in French and English, and says on which families of law it can
rest; a grant on any other basis is refused (`purposes.basis`). A purpose's words never change: other words are another
version, which has an id of its own (`school-meals-v2`), so that nobody has agreed to what they have not read.
Source: Regulation (EU) 2016/679 (GDPR), article 6(1); DPV's notion of purpose.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import Purpose
from schemas.text import is_plain


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


Texts = Mapping[Language, str]
"""One text in French and in English."""
LANGUAGES: Final[tuple[Language, ...]] = ("fr", "en")
NOTHING: Final[Texts] = MappingProxyType({"fr": "", "en": ""})
MOST: Final = MappingProxyType({"label": 80, "sentence": 200, "legal": 300, "retention": 200, "contact": 200})
"""Bytes of each text. All of them stand in receipts."""
_VERSIONED: Final = re.compile(r"(.+?)(?:-v([1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True)
class PurposeEntry:
    """One version of one purpose: its label and its sentence by language, and the families of law it can rest on (never
    empty). `legal`: the text that provides for it; `retention`: how long data are kept for it; `contact`: whom to ask.
    These three are empty in the program's own purposes: there the recipient's words are shown.
    """

    id: Purpose
    label: Texts
    sentence: Texts
    families: frozenset[LegalFamily]
    legal: Texts = field(default_factory=lambda: NOTHING)
    retention: Texts = field(default_factory=lambda: NOTHING)
    contact: str = ""

    @property
    def base(self) -> str:
        """The id without its version."""
        return base_of(self.id)[0]

    @property
    def version(self) -> int:
        """Which version of it this is; 1 is written without a number."""
        return base_of(self.id)[1]

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


def base_of(purpose: str) -> tuple[str, int]:
    """What a purpose is called in every version, and which one this is: `school-meals-v2` is (`school-meals`, 2)."""
    found = _VERSIONED.fullmatch(purpose)
    if found is None:
        raise Refused("purposes.unknown", "/purpose", purpose=purpose)
    return found[1], int(found[2] or 1)


def versioned(base: str, version: int) -> Purpose:
    """The id of a version. Raises Refused `name.purpose` for what is none."""
    return Purpose(base if version == 1 else f"{base}-v{version}")


def check_added(entry: PurposeEntry) -> None:
    """Whether an operator may add it: every text in both languages, one sentence, short enough, and a basis.

    Raises Refused `purposes.text`, `purposes.families`, with a pointer to the field.
    """
    texts = {"label": entry.label, "sentence": entry.sentence, "legal": entry.legal, "retention": entry.retention}
    for name, text in texts.items():
        if set(text) != set(LANGUAGES):
            raise Refused("purposes.text", f"/{name}", limit=MOST[name])
        for language in LANGUAGES:
            _check_text(text[language], name, f"/{name}/{language}")
    for language in LANGUAGES:
        if not entry.sentence[language].endswith("."):
            raise Refused("purposes.text", f"/sentence/{language}", limit=MOST["sentence"])
    _check_text(entry.contact, "contact", "/contact")
    if not entry.families:
        raise Refused("purposes.families", "/families", known=", ".join(one.value for one in LegalFamily))


def _check_text(text: object, name: str, pointer: str) -> None:
    if not isinstance(text, str) or not text.strip() or text != text.strip() or not is_plain(text, MOST[name]):
        raise Refused("purposes.text", pointer, limit=MOST[name])


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
"""Every purpose that comes with the program, by id: each in version 1."""

Catalogue = Mapping[Purpose, PurposeEntry]


def by_id(purpose: Purpose, among: Catalogue = CATALOGUE) -> PurposeEntry:
    """The purpose's entry, among those of the program, or all that there are. Raises Refused `purposes.unknown`."""
    try:
        return among[purpose]
    except KeyError:
        raise Refused("purposes.unknown", "/purpose", purpose=purpose) from None


def named(purpose: Purpose, among: Catalogue) -> PurposeEntry:
    """The purpose's entry; where its row does not count any more, one whose texts are its id: who ends what was given
    for it is told so all the same.
    """
    found = among.get(purpose)
    if found is not None:
        return found
    text: Texts = MappingProxyType({"fr": str(purpose), "en": str(purpose)})
    return PurposeEntry(purpose, text, text, frozenset(LegalFamily))


def next_version(base: str, there: Collection[Purpose]) -> int:
    """The version that a new text of this purpose has beside those that are there."""
    return 1 + max((version for one in there for name, version in [base_of(one)] if name == base), default=0)
