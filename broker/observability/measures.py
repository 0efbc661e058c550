"""Measures: how long things took, in this process, for whoever collects them.

Refuses: labels that tell of a person; a label is a role or a step, of which there are few.
Keeps: nobody is made to collect: a measure that is not asked for costs a microsecond.
"""

from typing import Final

from prometheus_client import Counter, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

TURN: Final = Histogram(
    "unefois_turn_seconds",
    "How long one turn of a role took that moved something or met trouble.",
    ("role",),
    buckets=_SECONDS,
    registry=None,
)
REVOCATION: Final = Histogram(
    "unefois_revocation_seconds",
    "From a revocation's arrival to its acknowledgement, when its key is destroyed.",
    buckets=_SECONDS,
    registry=None,
)
RELAYED: Final = Counter("unefois_relayed_deliveries", "Put on their agencies' topics.", registry=None)
INLET_ACCEPTED: Final = Counter(
    "unefois_inlet_accepted", "Records of sources' topics that were accepted.", registry=None
)
INLET_REFUSED: Final = Counter(
    "unefois_inlet_refused", "Records of sources' topics that went to their dead letters.", ("reason",), registry=None
)
WEBHOOK_ATTEMPTS: Final = Counter(
    "unefois_webhook_attempts", "Messages sent to webhooks: heard or not.", ("outcome",), registry=None
)
MESSAGES: Final = Counter(
    "unefois_messages", "Attempts to tell a citizen: taken or not.", ("channel", "outcome"), registry=None
)
HTTP_ANSWERS: Final = Counter("unefois_http_answers", "Requests that were answered.", ("status",), registry=None)
HTTP_PROBLEMS: Final = Counter("unefois_http_problems", "Answers that were problems.", ("code",), registry=None)
TROUBLES: Final = Counter(
    "unefois_troubles", "Turns of a role that met a trouble, of our own or an administration's.", ("role", "code"),
    registry=None,
)  # fmt: skip
ALL: Final = (
    TURN,
    REVOCATION,
    RELAYED,
    INLET_ACCEPTED,
    INLET_REFUSED,
    WEBHOOK_ATTEMPTS,
    MESSAGES,
    HTTP_ANSWERS,
    HTTP_PROBLEMS,
    TROUBLES,
)
