"""Citizen: somebody who has signed in, as every service for citizens takes them.

Refuses: nothing; only `broker.citizens.sessions` makes one, from a session that stands.
Keeps: the six facts of the person are in memory for one request; at rest they are sealed under a key that only the
citizen's browser, or the portal's request, carries.
"""

from dataclasses import dataclass, field

from broker.people.pivot import PivotIdentity
from consent.grant import Voice
from schemas.assurance import Assurance, Provenance, Quality
from schemas.messages import Language
from schemas.names import Capacity, Channel, Instant, PartyId, SubjectRef


@dataclass(frozen=True, slots=True)
class Helper:
    """Who sits at the keyboard for the citizen, as Aidants Connect tells it: `sub` of the agent at their organisation,
    and the scopes (`rep_scope`) that the citizen gave them. Never a name.
    """

    agent: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Citizen:
    """A person in a session of their own.

    `session`: its public id, 16 bytes, which opens nothing; `subject`: the account, our own reference, whatever `sub` a
    provider uses; `assurance`: how surely they are known, for this session; `portal`: the administration whose portal
    sent them, None: our own pages; `helper`: who helps, None: nobody.
    """

    session: bytes = field(repr=False)
    subject: SubjectRef
    identity: PivotIdentity = field(repr=False)
    assurance: Assurance
    channel: Channel
    language: Language
    signed_in_at: Instant
    expires_at: Instant
    portal: PartyId | None = None
    helper: Helper | None = None

    @property
    def provenance(self) -> Provenance:
        """How sure a declaration of theirs is: their own word, known as in this session."""
        return Provenance(self.assurance, Quality.DECLARED, self.channel)

    def voice(self, text_hash: bytes) -> Voice:
        """Who speaks, for a version of a grant. `text_hash`: SHA-256 (32 bytes) of the text that was shown."""
        given_by = "self" if self.helper is None else self.helper.agent
        capacity = Capacity.SELF if self.helper is None else Capacity.AGENT
        return Voice(given_by, capacity, self.channel, self.language, text_hash)
