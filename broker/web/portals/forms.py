"""Forms: the form of everything that the portals' API answers when it did what was asked, for its description.

Refuses: nothing.
Keeps: as `broker.web.agencies.forms`: a member that is always there is required, also where it may be null; a word that
may get company in a later version is a text. The tests hold every answer of a running broker to these forms, without a
member more.
"""

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

At = Annotated[str, Field(description="RFC 3339, UTC.", json_schema_extra={"format": "date-time"})]
Id = Annotated[str, Field(description="A UUID.")]
Digest = Annotated[str, Field(description="SHA-256, in hexadecimal.")]
Signed = Annotated[str, Field(description="A signed JSON document, as a text: keep its very bytes.")]
Next = Annotated[str | None, Field(description="`after` of the page that follows; null: this is the last one.")]


class Both(TypedDict):
    """A text in both languages."""

    fr: str
    en: str


class NamedField(TypedDict):
    """A field with its name for people."""

    name: str
    label: Both


class Party(TypedDict):
    """An administration, and whom to ask there; null what the directory does not know any more."""

    party: str
    name: str | None
    contact: str | None


class Nonce(TypedDict):
    """For one sign-in."""

    nonce: str
    expires_at: At


class Session(TypedDict):
    """A citizen's session at your portal. Nothing in it names the citizen: FranceConnect has told you."""

    id: Annotated[Id, Field(description="Opens nothing.")]
    assurance: Annotated[str, Field(description="How surely the citizen is known: low, substantial or high.")]
    language: str
    helped: Annotated[bool, Field(description="Whether somebody helps, by Aidants Connect.")]
    signed_in_at: At
    expires_at: At


class Opened(Session):
    """A new session. `session_token` is told once."""

    session_token: str


class Ended(TypedDict):
    """It stands no more."""

    ended: bool


class ListedSession(TypedDict):
    """A session, as its citizen sees it."""

    id: Id
    this: bool
    way: Annotated[str, Field(description="franceconnect, franceconnect-plus or code.")]
    assurance: str
    portal: Annotated[str | None, Field(description="null: the broker's own pages.")]
    helped: bool
    opened_at: At
    seen_at: At
    expires_at: At


class SessionList(TypedDict):
    """The newest first."""

    sessions: list[ListedSession]


class FormField(TypedDict):
    """A field that is filled in."""

    name: str
    label: Both
    doc: str
    sensitivity: str
    required: bool


class Type(TypedDict):
    """What a citizen may declare."""

    event_type: str
    schema: Digest
    label: Both
    household: Annotated[bool, Field(description="Whether several people of a household may declare it by one form.")]
    least_assurance: Annotated[str | None, Field(description="How surely the citizen has to be known; null: low.")]
    fields: list[FormField]


class TypeList(TypedDict):
    """In the order in which they are offered."""

    types: list[Type]


class FormId(TypedDict):
    """The id of a form."""

    form_id: Id


class Ground(TypedDict):
    """On what something goes out, and what the citizen can do about it."""

    basis: Annotated[str, Field(description="consent, choice or law.")]
    article: str | None
    rule: Annotated[
        Id | None, Field(description="Of a rule by law, to which one may object where `objection` says so.")
    ]
    objection: bool
    remedy: Both
    fields: list[NamedField]


class Line(TypedDict):
    """What one administration would get for one purpose."""

    recipient: Party
    purpose: str
    purpose_label: Both
    permitted: bool
    fields: list[NamedField]
    grounds: list[Ground]
    reason: str | None
    why: Annotated[Both | None, Field(description="The reason as a sentence to the citizen.")]
    sentence: Both


class Outlook(TypedDict):
    """Who would get what."""

    event_type: str
    event_label: Both
    held_until: Annotated[At | None, Field(description="Nobody would get it before; null: nobody has to wait.")]
    elsewhere: Annotated[int, Field(description="How many more hear of this type, but of other places.")]
    lines: list[Line]


class Kept(TypedDict):
    """A declaration that is kept: durable once this was answered."""

    declaration: Id
    event_type: str
    received_at: At
    repeated: Annotated[bool, Field(description="It came before; this is the receipt of then.")]
    manifest: Digest
    receipt: Signed


class WaitingAdult(TypedDict):
    """An adult who has to confirm: give them, and nobody else, their code."""

    member: Annotated[int, Field(description="The place in `others`, from 1 on.")]
    code: str
    expires_at: At


class HouseholdKept(TypedDict):
    """A household's form that was taken in."""

    household: Id
    declarations: Annotated[list[Kept], Field(description="The citizen's first, then those of whom they represent.")]
    waiting: list[WaitingAdult]


class Declined(TypedDict):
    """An adult has refused."""

    household: Id
    confirmed: bool


class Taken(TypedDict):
    """That a declaration was taken back (cancelled, recalled), or stopped; `stands`: whether it still counts."""

    declaration: Id
    kind: str
    at: At
    stands: bool


class Cancelled(Taken):
    """The same; `repeated`: it was before."""

    repeated: bool


Progress = TypedDict(
    "Progress",
    {
        "sent": int,
        "received": int,
        "in-progress": int,
        "done": int,
        "refused": int,
        "withheld": int,
        "to-complete": int,
        "technical": int,
    },
)
"""How many administrations are in which state."""


class Summary(TypedDict):
    """A declaration of the citizen's."""

    declaration: Id
    event_type: str
    event_label: Both | None
    source: Party
    corrects: Id | None
    received_at: At
    routed_at: Annotated[At | None, Field(description="null: not yet.")]
    held_until: At | None
    progress: Progress
    your_turn: Annotated[bool, Field(description="Whether one of them waits for the citizen.")]
    taken_back: Taken | None


class Step(TypedDict):
    """One administration's line."""

    recipient: Party
    purpose: str
    purpose_label: Both
    progress: str
    word: Annotated[Both, Field(description="Transmise, Reçue, En cours, Traitée, Refusée, ...")]
    fields: list[NamedField]
    taken: Annotated[list[NamedField] | None, Field(description="What was recorded, where it was not all.")]
    since: At
    reason: str | None
    why: Both | None
    awaited: Annotated[str, Field(description="For whom it waits: citizen, administration, broker or nobody.")]
    awaited_words: Both
    until: Annotated[str | None, Field(description="The day by which somebody there decides.")]
    late: bool
    held_until: At | None
    repairable: Annotated[bool, Field(description="Whether the citizen's number there may help: `:explain-repair`.")]
    repairing: Annotated[bool, Field(description="Whether the citizen's number is on its way there.")]
    basis: str | None
    article: str | None
    grant: Id | None
    delivery: Id | None


class Track(Summary):
    """The same, with every administration's line."""

    steps: list[Step]


class Mine(TypedDict):
    """The newest first."""

    declarations: list[Summary]
    next: Next


class Held(TypedDict):
    """A declaration that waits before anybody gets it."""

    declaration: Id
    event_type: str
    source: str
    received_at: At
    until: At
    recalls: Annotated[Id | None, Field(description="What it takes back, if that is what it does.")]
    stopped: bool


class HeldList(TypedDict):
    """The newest first."""

    held: list[Held]


class Acknowledgement(TypedDict):
    """The paper, as `unefois acknowledge` has it; it has further members."""

    format: str
    number: Id
    made_at: At
    received_at: At
    event_type: str
    event_label: Both
    content: list[dict[str, Any]]
    values: Annotated[str, Field(description="none, or as-stated.")]
    recipients: list[dict[str, Any]]
    not_told: list[dict[str, Any]]
    source: dict[str, Any]
    contact: dict[str, Any]
    manifest: str
    receipt: dict[str, Any]


class RepairOutlook(TypedDict):
    """What the citizen agrees to."""

    recipient: str
    text: str
    text_sha256: Digest
    until: At
    left: Annotated[int, Field(description="Tries, this one among them.")]


class Repaired(TypedDict):
    """The number was handed in."""

    reference: Id
    grant: Id
    number: Annotated[int, Field(description="Which try it was.")]
    left: int


class Offer(TypedDict):
    """What an administration asks for, that the citizen may allow."""

    id: Id
    recipient: Party
    event_type: str
    event_label: Both
    purpose: str
    purpose_label: Both
    sentence: Both
    fields: list[NamedField]
    bases: Annotated[list[str], Field(description="consent, choice.")]
    article: str | None
    territories: Annotated[list[str] | None, Field(description="null: everywhere.")]
    grants: Annotated[list[Id], Field(description="The citizen's own that live for it.")]


class OfferList(TypedDict):
    """In the order of their ids."""

    offers: list[Offer]
    next: Next


class Preview(TypedDict):
    """The exact words."""

    text: str
    text_sha256: Digest
    until: At
    basis: str
    article: str | None
    next: Annotated[Both, Field(description="What it means next time.")]


class Action(TypedDict):
    """What the citizen can do with a grant, and the sentence under which they do."""

    action: Annotated[str, Field(description="pause, resume, narrow or end.")]
    text: str
    text_sha256: Digest


class Grant(TypedDict):
    """Who may receive what, for what, until when, and by whose word."""

    id: Id
    version: int
    status: Annotated[str, Field(description="active, paused, revoked or expired.")]
    recipient: Party
    event_type: str
    event_label: Both
    purpose: str
    purpose_label: Both
    fields: list[NamedField]
    basis: str
    article: str | None
    rule: Id | None
    once: bool
    once_for: Id | None
    granted_at: At
    starts_at: At
    until: At | None
    changed_at: At
    given_by: Annotated[str, Field(description="self, or an agent's number; never a name.")]
    channel: str
    language: str
    text: Annotated[str | None, Field(description="What was shown; null where the directory's words are others now.")]
    text_sha256: Digest
    actions: list[Action]


class GrantList(TypedDict):
    """Oldest first."""

    consents: list[Grant]


class GrantVersion(TypedDict):
    """One version."""

    version: int
    status: str
    fields: list[NamedField]
    at: At
    given_by: str
    channel: str
    text_sha256: Digest


class GrantWithVersions(Grant):
    """With every version, the oldest first."""

    versions: list[GrantVersion]


class Change(TypedDict):
    """A grant as it is now. `repeated`: it was so before, and nothing was written: then there is no new receipt."""

    grant: Grant
    repeated: bool
    text: str | None
    text_sha256: Digest
    entry: Annotated[Digest | None, Field(description="The ledger's entry, by its leaf.")]
    receipt: Signed | None
    next: Annotated[Both, Field(description="What it means next time.")]


class ChangeList(TypedDict):
    """What has ended."""

    ended: list[Change]


class ConsentReceipt(TypedDict):
    """Of one version."""

    receipt: Signed


class Objection(TypedDict):
    """What the citizen has said of a rule by law."""

    stands: bool
    objected_at: At
    withdrawn_at: At | None
    reason: str


class Rule(TypedDict):
    """A rule by law, under which an administration hears of everybody."""

    id: Id
    recipient: Party
    event_type: str
    event_label: Both
    purpose: str
    purpose_label: Both
    fields: list[NamedField]
    article: str
    ground: Ground
    acts_from: At | None
    ends_at: At | None
    territories: list[str] | None
    text: Annotated[str | None, Field(description="As the citizen is informed of it, in the language of the session.")]
    text_sha256: Digest | None
    objection: Objection | None


class RuleList(TypedDict):
    """In the order of their ids."""

    rules: list[Rule]
    next: Next


class Objected(TypedDict):
    """What the citizen has said now; `repeated`: it was said before."""

    rule: Id
    objection: Objection | None
    repeated: bool
    next: Annotated[Both, Field(description="What it means next time.")]


class Event(TypedDict):
    """One line of the history."""

    what: Annotated[str, Field(description="opened, withheld, looked, consents, declared or acting.")]
    kind: str
    at: At
    actor: Party | None
    recipient: Party | None
    event_type: str | None
    event_label: Both | None
    purpose: str | None
    purpose_label: Both | None
    fields: list[NamedField]
    basis: str | None
    grant: Id | None
    grant_version: int | None
    delivery: Id | None
    declaration: Id | None
    manifest: Digest | None
    reason: str | None
    why: Both | None
    outcome: Annotated[str | None, Field(description="What came of it: applied, rejected, answered.")]
    outcome_at: At | None
    entry: Annotated[Digest | None, Field(description="Its leaf in the ledger; null for what was never planned.")]


class History(TypedDict):
    """The newest first."""

    events: list[Event]
    next: Next
    closed: Annotated[int, Field(description="Entries that nobody can open any more.")]


class Proof(TypedDict):
    """A receipt of the ledger."""

    proof: Annotated[str, Field(description="The receipt's text: keep its very bytes.")]


class Export(TypedDict):
    """Everything, as `schemas/person-export.v1.schema.json` has it; it has further members."""

    format: str
    person: dict[str, Any]
    held: dict[str, Any]
    entries: list[dict[str, Any]]
    parties: dict[str, Any]
    left_out: NotRequired[list[Any]]
