"""Roles: who of the broker's own people may do what: one table, by the words of each command.

    operator   runs the machine, and the administrations that take part
    approver   the second pair of eyes
    auditor    looks, proves, discloses; changes nothing
    dpo        the data-protection officer: a person's file, erasure
    support    follows a declaration, without values

Refuses: what the table does not name.
Keeps: each command stands in one of the sets; nobody's, everybody's, the machine's, or that of some roles. The console
asks the same table.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from schemas.errors import Refused


class Role(Enum):
    """What an account is for. One account may have several."""

    OPERATOR = "operator"
    APPROVER = "approver"
    AUDITOR = "auditor"
    DPO = "dpo"
    SUPPORT = "support"


APART: Final = frozenset(
    {
        *("demo", "sandbox", "simulate", "conformance cases", "conformance run", "source new-key", "source serve"),
        *("witness init", "witness serve", "monitor", "audit check", "audit consistency", "operator key", "logout"),
        *("type list", "type show", "type check", "type new", "mapping list", "mapping new", "mapping test"),
        *("connector list", "connector describe", "connector check", "connector test", "connector new"),
        *(
            "config check",
            "config show",
            "completion",
            "person schema",
            "deploy write",
            "deploy logins",
            "receipt verify",
        ),
    }
)
"""They touch nobody's home, or tell of its settings alone: nobody is asked."""

MACHINE: Final = frozenset({"init", "run", "serve", "migrate", "backup", "fsck", "prune"})
"""Units and timers start them, where nobody is there to be asked; what they do is the machine's."""

_O, _A, _U, _D, _S = Role
_ANY: Final = frozenset(Role)


def _of(*roles: Role) -> frozenset[Role]:
    return frozenset(roles)


ALLOWED: Final[Mapping[str, frozenset[Role]]] = MappingProxyType(
    {
        # looks at what the broker is and does; no citizen is in them
        **dict.fromkeys(("party list", "party behind", "party busiest", "subscribe list"), _ANY),
        **dict.fromkeys(("topics list", "topics plan", "webhook list"), _ANY),
        **dict.fromkeys(("witness list", "top", "clock show", "ledger show", "endings show", "epoch list"), _ANY),
        **dict.fromkeys(("operator list", "operator whoami", "operator acts", "approvals"), _ANY),
        **dict.fromkeys(("doctor", "receipt directory", "rule list", "purpose list", "mapping preview"), _ANY),
        **dict.fromkeys(
            ("token list", "token keys", "token uses", "keys unknown list", "webhook attempts"), _of(_O, _A, _U)
        ),
        # proofs
        **dict.fromkeys(("audit verify", "audit export"), _of(_O, _U, _D)),
        "audit prove": _of(_O, _U, _D, _S),
        "audit disclose": _of(_U, _D),
        "export": _of(_O, _D),
        # citizens
        "track": _of(_O, _U, _D, _S),
        **dict.fromkeys(("party signed", "subscribe released"), _of(_O, _U, _D)),
        **dict.fromkeys(("grants", "person report", "person export", "person erase"), _of(_D)),
        **dict.fromkeys(("explain", "declare", "grant", "pause", "resume", "narrow", "revoke"), _of(_O, _D)),
        **dict.fromkeys(("object", "unobject", "repair", "acknowledge"), _of(_O, _D)),
        **dict.fromkeys(("cancel", "recall", "hold stop"), _of(_O, _D)),
        "hold list": _of(_O, _D, _S),
        **dict.fromkeys(("representation add", "representation end"), _of(_O, _D)),
        **dict.fromkeys(("representation list", "representation show"), _of(_O, _D)),
        **dict.fromkeys(("identity link", "identity confirm", "identity list"), _of(_O, _D)),
        **dict.fromkeys(("identity refuse", "identity unlink"), _of(_O, _D)),
        "code": _of(_O, _D),
        **dict.fromkeys(("channel add", "channel list", "channel remove"), _of(_O, _D)),
        **dict.fromkeys(("dead list", "dead show"), _of(_O, _D, _S)),
        "dead replay": _of(_O),
        # people in danger: who is protected is for the DPO alone, and for nobody's list
        **dict.fromkeys(("protect add", "protect notice", "protect lift", "protect keep"), _of(_O, _D)),
        **dict.fromkeys(("protect show", "protect list", "protect looks"), _of(_D)),
        "protect request": _of(_A, _D),
        # administrations
        **dict.fromkeys(("party add", "party add-key", "party allow", "party forbid"), _of(_O)),
        **dict.fromkeys(("party edit", "party policy", "party rotate", "party revoke-key"), _of(_O)),
        **dict.fromkeys(("subscribe", "subscribe approve", "subscribe end"), _of(_O)),
        **dict.fromkeys(
            ("rule ask", "rule approve", "rule narrow", "rule end", "purpose add", "purpose approve"), _of(_O)
        ),
        **dict.fromkeys(("subscribe pause", "subscribe resume"), _of(_O)),
        **dict.fromkeys(("token issue", "token revoke", "token pin", "token unpin"), _of(_O)),
        **dict.fromkeys(("token follow", "token unfollow"), _of(_O)),
        **dict.fromkeys(("webhook add", "webhook end", "webhook prove", "webhook rotate"), _of(_O)),
        **dict.fromkeys(("topics allow", "topics apply", "topics begin-again", "topics end"), _of(_O)),
        # the machine
        **dict.fromkeys(("epoch rotate", "epoch destroy", "keys lock", "keys unknown destroy"), _of(_O)),
        **dict.fromkeys(("clock accept", "endings replay", "ledger succeed", "move", "move-log", "restore"), _of(_O)),
        # who works here
        **dict.fromkeys(("operator add", "operator change", "operator end"), _of(_O)),
        **dict.fromkeys(("approve", "approve-restore", "refuse"), _of(_A)),
    }
)
"""Who may do what else."""

LOOKS: Final = frozenset(
    {
        *("party behind", "party busiest", "subscribe list", "rule list", "topics list"),
        "mapping preview",
        *("witness list", "clock show", "ledger show", "endings show", "approvals"),
        *("operator list", "operator acts", "token list", "token keys", "token uses", "webhook attempts", "top"),
    }
)
"""They record nothing and write nothing, and need no secret of the home: whoever gives one gets none."""

RECOVER: Final = "operator recover"
"""By whoever holds the home, when nobody's key is left: nobody is asked, and the ledger says so."""

LOGIN: Final = "login"
"""Says who somebody is, so it asks nobody first."""

ALONE: Final = frozenset(
    {
        *("subscribe pause", "subscribe resume", "webhook prove", "webhook rotate", "rule ask", "purpose add"),
        *("topics apply", "topics begin-again", "keys unknown destroy", "clock accept"),
        *("protect notice", "protect lift"),  # without what they did, which would say whom they are about
    }
)
"""Acts that leave no entry of their own, or not each time: who does one is told before it is done."""

TWO: Final = frozenset(
    {
        *("party add", "party add-key", "party allow", "party policy", "subscribe approve", "token issue", "token pin"),
        *("rule approve", "purpose approve", "protect notice", "protect lift", "representation add"),
        *("identity confirm",),
        *("token follow", "topics allow", "webhook add", "epoch destroy", "keys unknown destroy", "audit disclose"),
        *("export", "party rotate", "restore", "operator add", "operator change", "person erase"),
    }
)
"""What takes two persons, where the settings say so (`four_eyes`). An end that protects (`party forbid`,
`party revoke-key`, `token revoke`, `operator end`) takes one: a thief does not wait for a second pair of eyes.
"""


SEALED: Final = frozenset({"protect notice", "protect lift"})
"""Of TWO, what nobody reads in the table of requests: it is kept there sealed, and shown to whoever approves."""


def parse(words: Iterable[str]) -> frozenset[Role]:
    """The roles of these names. Raises Refused `operators.unknown-role`, `operators.no-role`."""
    known = {role.value: role for role in Role}
    wanted = list(words)
    for word in wanted:
        if word not in known:
            raise Refused("operators.unknown-role", "/roles", known=", ".join(known))
    if not wanted:
        raise Refused("operators.no-role", "/roles")
    return frozenset(known[word] for word in wanted)


def asks(act: str) -> bool:
    """Whether somebody has to say who they are before this is done. What the table does not name asks, too."""
    return act not in APART | MACHINE | {RECOVER, LOGIN}


def needs_two(act: str, arguments: Mapping[str, object]) -> bool:
    """Whether two persons are needed, where the settings ask for them."""
    if act == "person erase":  # a look before it is one person's
        return arguments.get("dry_run") is not True
    if act == "recall":  # of one's own house it is a source's act; another's is taken back by two
        return arguments.get("for_source") is True
    return act in TWO or (act == "subscribe" and arguments.get("legal_reference") is not None)


def check(act: str, roles: frozenset[Role]) -> None:
    """Raises Refused `operators.not-allowed`: whoever has only these roles may not do this."""
    allowed = ALLOWED.get(act, frozenset())
    if not roles & allowed:
        needed = ", ".join(sorted(role.value for role in allowed))
        raise Refused("operators.not-allowed", act=act, roles=needed or "-")
