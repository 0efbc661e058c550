"""The agencies' API in the bench: `unefois serve --role api` on a real PostgreSQL, asked by a process of its own,
beside a bare Starlette route on the same server program, asked by the same process in the same run.

    python -m tests.bench.api [--count 400]
"""

import argparse
import asyncio
import base64
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from broker.access.credentials import Scope
from broker.cli.session import collect_less
from broker.settings.choices import load
from broker.setup.opening import open_home
from schemas.names import Instant, PartyId
from tests.bench import fleet
from tests.bench.figures import Figure, cost, percentile, show
from tests.bench.fleet import ROOT, Fleet
from tests.bench.floor import Floor
from tests.bench.spine import BATCH, RECIPIENTS
from tests.bench.worker import envelopes_in
from tests.services.absent import Absent
from tests.services.processes import free_port
from tests.world import PORTAL

SMALL = 2000
CONNECTIONS = 16
Ask = tuple[str, str, dict[str, str], str]

BARE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
async def ok(request):
    return JSONResponse({"waiting": 0})
uvicorn.run(Starlette(routes=[Route("/", ok)]), port=int(sys.argv[1]), log_level="critical", access_log=False)
"""


def asked(
    served: Fleet, address: str, requests: Sequence[Ask], connections: int, *, keep: bool = False
) -> dict[str, Any]:
    """What the load generator tells; every answer has to be a success."""
    plan = served.folder / "plan.json"
    plan.write_text(json.dumps({"connections": connections, "requests": requests, "keep": keep}))
    command = [sys.executable, "-m", "tests.bench.knock", address, str(plan)]
    told: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    if any(not status.startswith("2") for status in told["statuses"]):
        raise RuntimeError(f"answers: {told['statuses']}")
    return told


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str], port: int) -> Iterator[str]:
    """A server program while the block runs: its address, once it takes connections."""
    from tests.services.processes import listens

    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not listens(port):
            if process.poll() is not None:
                raise RuntimeError("the server ended")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


async def tokens(served: Fleet) -> dict[PartyId, str]:
    """A token for the source and for each recipient."""
    found = {}
    async with open_home(load(**_told(served))) as home, home.store.begin() as tx:
        at = home.clock()
        for party in (PORTAL, *served.parties):
            issued = await home.credentials.issue(tx, party, tuple(Scope), expires_at=Instant(at + 3_600_000), at=at)
            found[party] = issued.token
    return found


def _told(served: Fleet) -> dict[str, Any]:
    return served.settings.model_dump(include=served.settings.model_fields_set)


def small(served: Fleet, address: str, token: str, bare: str) -> list[Figure]:
    """Small requests, with their token checked and a look into the database; and the registry."""
    shown = {"authorization": f"Bearer {token}"}
    floor = asked(served, bare, [("GET", "/", {}, "")] * SMALL, CONNECTIONS)
    ours = asked(served, address, [("GET", "/v1/status", shown, "")] * SMALL, CONNECTIONS)
    floor_rate, our_rate = SMALL / floor["seconds"], SMALL / ours["seconds"]
    registry = asked(served, address, [("GET", "/registry/subjects", {}, "")] * 500, 1)
    alone = asked(served, bare, [("GET", "/", {}, "")] * 500, 1)
    return [
        Figure(
            "small requests (GET /v1/status)",
            "1/s",
            our_rate,
            floor_rate,
            our_rate / floor_rate,
            2000,
            our_rate >= 2000,
        ),
        cost("  of which the load generator's processor", "ms", 1000 * ours["cpu"] / SMALL, None),
        cost(
            "registry hit, p99",
            "ms",
            1000 * percentile(registry["took"], 0.99),
            2,
            1000 * percentile(alone["took"], 0.99),
        ),
    ]


def published(served: Fleet, address: str, token: str, count: int) -> Figure:
    """Declarations accepted by batches of 100, each durable in the log, with its signed receipt."""
    file, _ = served.made(0, count)
    texts = [base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in envelopes_in(file.read_bytes())]
    shown = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    bodies = [json.dumps({"declarations": texts[at : at + BATCH]}) for at in range(0, count, BATCH)]
    answers = asked(served, address, [("POST", "/v1/declarations:batch", shown, body) for body in bodies], 2, keep=True)
    refused = sum(not one["ok"] for body in answers["bodies"] for one in json.loads(body)["results"])
    if refused:
        raise RuntimeError(f"{refused} declarations were refused")
    per_second = count / answers["seconds"]
    return Figure("declarations accepted, by batches of 100", "1/s", per_second, None, None, 1000, per_second >= 1000)


def pulled(served: Fleet, address: str, found: Mapping[PartyId, str], count: int, floor: Floor) -> Figure:
    """Pulls of 100 deliveries, leased and released."""
    router = served.serve("router")
    took: list[float] = []
    left = count * RECIPIENTS
    while left:
        for party in served.parties:
            shown = {"authorization": f"Bearer {found[party]}", "content-type": "application/json"}
            answer = asked(served, address, [("POST", "/v1/deliveries:pull", shown, '{"max": 100}')], 1, keep=True)
            deliveries = [one["id"] for one in json.loads(answer["bodies"][0])["deliveries"]]
            if not deliveries:
                continue
            if len(deliveries) == BATCH:
                took += answer["took"]
            ends = json.dumps({"acknowledgements": [{"delivery": one, "outcome": "applied"} for one in deliveries]})
            asked(served, address, [("POST", "/v1/deliveries:ack", shown, ends)], 1)
            left -= len(deliveries)
    router.kill()
    p50 = 1000 * statistics.median(took or [float("nan")])
    return cost("pull of 100 deliveries, p50", "ms", p50, 30, 1000 * BATCH * floor.gate)


def role(name: str, port: int) -> list[str]:
    """The command of a process that answers."""
    return [sys.executable, "-m", "broker", "serve", "--role", name, "--listen", f"127.0.0.1:{port}"]


async def run(count: int, told: Mapping[str, Any]) -> list[Figure]:
    """Every figure of the API."""
    unlimited = {"requests_per_minute": 0, "address_requests_per_minute": 0, "declarations_per_minute": 0}
    async with fleet.fleet(count, {**told, **unlimited}) as (served, floor):
        found = await tokens(served)
        port, gate, beside = free_port(), free_port(), free_port()
        with (
            serving(role("api", port), served.environment, port) as address,
            serving(role("gate", gate), served.environment, gate) as releasing,
            serving([sys.executable, "-c", BARE, str(beside)], served.environment, beside) as bare,
        ):
            figures = small(served, address, found[served.parties[0]], bare)
            figures.append(published(served, address, found[PORTAL], count))
            figures.append(pulled(served, releasing, found, count, floor))
    return figures


def measured(count: int) -> list[Figure]:
    """The figures, or none where PostgreSQL cannot be had."""
    try:
        with fleet.servers("server") as told:
            return asyncio.run(run(count, told))
    except Absent as absent:
        print(f"api: {absent}")
        return []


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400, help="declarations")
    collect_less()
    show("api", measured(parser.parse_args().count))


if __name__ == "__main__":
    main()
