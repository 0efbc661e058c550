"""docs/agency/api.md tells the limits that the code has."""

import re

from broker.access.credentials import Scope
from broker.flow.gate import MOST
from broker.flow.mailbox import PULL_BYTES
from broker.settings.choices import Settings
from broker.web.agencies.app import BODIES, describe
from broker.web.agencies.waiting import ONCE
from broker.web.common.answered import operations
from broker.web.common.bodies import BATCH, WAIT_SECONDS
from broker.web.common.connections import SLOW_SECONDS, SLOWEST_BYTES
from broker.web.common.frame import BODY_BYTES, HEADER_BYTES, HEADERS, REQUESTS
from broker.web.common.limits import WINDOW_SECONDS
from broker.web.server import KEEP_ALIVE_SECONDS
from tests.docs.pages import DOCS

PAGE = (DOCS / "agency" / "api.md").read_text("utf-8")


def test_the_limits_are_those_of_the_code() -> None:
    fields = Settings.model_fields
    for sentence in (
        f"| {HEADERS} headers, {HEADER_BYTES // 1024} KiB |",
        f"| body of a request | {BODY_BYTES // 1024} KiB |",
        f"| body of `POST /v1/declarations` | {BODIES['/v1/declarations'] >> 20} MiB |",
        f"| {BODIES['/v1/declarations:batch'] >> 20} MiB, {BATCH} declarations |",
        f"| deliveries in a pull, an acknowledgement or a release | {MOST} |",
        f"| deliveries in a replay | {BATCH} |",
        f"| {ONCE}, of {WAIT_SECONDS} seconds |",
        f"| requests of one administration | {fields['requests_per_minute'].default:,} a minute |",
        f"prove nothing | {fields['address_requests_per_minute'].default:,} a minute |",
        f"| {SLOW_SECONDS} seconds; a large body longer, at {SLOWEST_BYTES // 1024} KiB a second |",
        f"| {SLOW_SECONDS} seconds; a large answer longer, at {SLOWEST_BYTES // 1024} KiB a second |",
        f"| what the deliveries of a pull weigh together | {PULL_BYTES >> 20} MiB, or a single one |",
        f"| between two requests on a connection | {KEEP_ALIVE_SECONDS} seconds |",
        f"| requests that a process answers at once | {REQUESTS} |",
        f"w={WINDOW_SECONDS}\n",
    ):
        assert sentence in PAGE, sentence


def test_each_address_stands_under_the_scope_that_it_needs() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`(?:GET|POST) /.*) \|$", PAGE, re.MULTILINE)
    told = {address: scope for scope, addresses in rows for address in re.findall(r"`([^`]+)`", addresses)}
    needed = {}
    for method, path, operation in operations(describe()):
        (requirement,) = operation["security"]
        (scopes,) = requirement.values()
        (needed[f"{method} {path}"],) = scopes
        assert f"Scope: `{scopes[0]}`." in operation["description"]
        assert f"the scope `{scopes[0]}`" in operation["responses"]["403"]["description"]

    assert told == needed
    assert {scope.value for scope in Scope} == {*needed.values(), Scope.CITIZENS.value}  # of the portals' API
