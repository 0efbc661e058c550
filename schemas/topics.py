"""Topics: what the Kafka topics are called that a party and the broker share.

    deliveries.<party>       sealed deliveries, for the agency           key: one for each citizen, this agency's alone
    declarations.<party>     signed declarations, from the source        key: the source's own, any
    receipts.<party>         what the intake answered to them            key: the declaration's id

Refuses: nothing; a party's identifier was checked when it was made.
Keeps: two parties never share a name. Declarations and deliveries are CloudEvents in binary mode
(`schemas.cloudevents`), receipts the same signed JSON as over HTTP.
Source: docs/protocol.md, section 1 (parties); kafka.apache.org, "Topics" (249 characters of `[a-zA-Z0-9._-]`).
"""

from schemas.names import PartyId


def label(party: PartyId) -> str:
    """`fr-siret-21350238800019`, `unefois-caf`: the party's identifier, its namespace in front, without colons."""
    return party.removeprefix("urn:").replace(":", "-")


def deliveries(agency: PartyId) -> str:
    """Where an agency reads its sealed deliveries."""
    return f"deliveries.{label(agency)}"


def declarations(source: PartyId) -> str:
    """Where a source writes its declarations."""
    return f"declarations.{label(source)}"


def receipts(source: PartyId) -> str:
    """Where a source reads its receipts."""
    return f"receipts.{label(source)}"
