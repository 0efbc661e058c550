"""Soak: an API process and a worker process on a real PostgreSQL, under a load that does not change, for five minutes
and ten more; each minute tells how long answers took and how much memory each process holds. Flat memory is a slope
near zero over the ten.

    python -m tests.bench.soak [--minutes 15] [--rate 5]

Each second: one batch of `--rate` declarations, each to five recipients; five small requests a declaration; each
recipient pulls and acknowledges. The load is open: a second that is late does not make the next one later.
"""

import argparse
import asyncio
import base64
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from schemas.names import PartyId
from tests.bench import fleet
from tests.bench.api import tokens
from tests.bench.figures import percentile
from tests.bench.fleet import ROOT, Fleet
from tests.bench.worker import envelopes_in
from tests.services.absent import Absent
from tests.services.processes import free_port, listens
from tests.world import PORTAL

SMALL = 5
"""Small requests for each declaration."""
WARM_MINUTES = 5
"""What a process learns and keeps in its first minutes, sixteen connections their statements each, is no leak."""
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
AIM_MB = 10.0
"""Megabytes an hour, for each process."""


@dataclass
class Soak:
    """One run: its answers by minute, in seconds, and the memory of each process by second, in megabytes."""

    http: httpx2.AsyncClient
    served: Fleet
    tokens: Mapping[PartyId, str]
    pids: Mapping[str, int]
    began: float = field(default_factory=time.monotonic)
    took: dict[int, list[float]] = field(default_factory=dict)
    memory: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    wrong: int = 0
    applied: int = 0

    async def ask(self, party: PartyId, method: str, path: str, told: Any = None) -> Any:
        """One request, timed from its sending."""
        start = time.monotonic()
        shown = {"authorization": f"Bearer {self.tokens[party]}"}
        try:
            answer = await self.http.request(method, path, json=told, headers=shown)
            good = answer.status_code < 300
        except httpx2.TransportError:
            good = False
        self.took.setdefault(int((start - self.began) / 60), []).append(time.monotonic() - start)
        self.wrong += not good
        return answer.json() if good else {}

    async def second(self, envelopes: list[str]) -> None:
        """What happens in each."""
        asked = [self.ask(PORTAL, "POST", "/v1/declarations:batch", {"declarations": envelopes})]
        parties = self.served.parties
        asked += [self.ask(parties[at % len(parties)], "GET", "/v1/status") for at in range(SMALL * len(envelopes))]
        await asyncio.gather(*asked, *(self.receive(party) for party in parties))

    async def receive(self, party: PartyId) -> None:
        """Whatever waits, acknowledged."""
        pulled = await self.ask(party, "POST", "/v1/deliveries:pull", {"max": 100})
        ends = [{"delivery": one["id"], "outcome": "applied"} for one in pulled.get("deliveries", ())]
        if ends:
            await self.ask(party, "POST", "/v1/deliveries:ack", {"acknowledgements": ends})
            self.applied += len(ends)

    def look(self) -> None:
        """The memory of each process now."""
        self.memory.append((time.monotonic() - self.began, {name: resident(pid) for name, pid in self.pids.items()}))

    async def run(self, seconds: int, texts: list[str], rate: int) -> None:
        """All of it; what is still under way at the end is waited for."""
        under_way: set[asyncio.Task[None]] = set()
        for number in range(seconds):
            await asyncio.sleep(max(0, self.began + number - time.monotonic()))
            task = asyncio.create_task(self.second(texts[number * rate : (number + 1) * rate]))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            self.look()
            if number % 60 == 59:
                self.tell(number // 60)
        await asyncio.gather(*under_way)

    def tell(self, minute: int) -> None:
        """One line of the table."""
        took, (_, held) = self.took.get(minute, [math.nan]), self.memory[-1]
        each = "".join(f"{held[name]:>10.1f}" for name in self.pids)
        quick, slow = (1000 * percentile(took, part) for part in (0.5, 0.99))
        print(f"{minute + 1:>6}{len(took):>10}{quick:>10.1f}{slow:>10.1f}{each}", flush=True)

    def slope(self, name: str) -> float:
        """Megabytes an hour, by least squares, once warm."""
        end = self.memory[-1][0]
        points = [(at, held[name]) for at, held in self.memory if at >= min(WARM_MINUTES * 60, end / 2)]
        mean_at, mean = (sum(one) / len(points) for one in zip(*points, strict=True))
        over = sum((at - mean_at) ** 2 for at, _ in points)
        return float(3600 * sum((at - mean_at) * (held - mean) for at, held in points) / over)


def resident(pid: int) -> float:
    """Megabytes that a process holds in memory."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * PAGE / 1_000_000


async def run(minutes: int, rate: int, told: Mapping[str, Any]) -> bool:
    """Print the table. Returns whether every answer was good and both slopes are within the aim."""
    seconds, unlimited = (
        minutes * 60,
        {"requests_per_minute": 0, "address_requests_per_minute": 0, "declarations_per_minute": 0},
    )
    async with fleet.fleet(seconds * rate, {**told, **unlimited}) as (served, _):
        file, _ = served.made(0, seconds * rate)
        texts = [base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in envelopes_in(file.read_bytes())]
        found, port = await tokens(served), free_port()
        command = [sys.executable, "-m", "broker", "serve", "--role", "all", "--listen", f"127.0.0.1:{port}"]
        api = subprocess.Popen(
            command, cwd=ROOT, env=served.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while not listens(port):
                if api.poll() is not None:
                    raise RuntimeError("the server ended")
            worker = served.serve("all")
            return await soaked(served, found, port, {"api": api.pid, "worker": worker.pid}, seconds, texts, rate)
        finally:
            api.terminate()
            api.wait()


async def soaked(
    served: Fleet, found: Mapping[PartyId, str], port: int, pids: Mapping[str, int], seconds: int, texts: list[str],
    rate: int,
) -> bool:  # fmt: skip
    """The load itself, and its table."""
    limits = httpx2.Limits(max_connections=32)
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", limits=limits, trust_env=False, timeout=60
    ) as http:
        soak = Soak(http, served, found, pids)
        head = "".join(f"{f'{name} MB':>10}" for name in pids)
        print(f"{'minute':>6}{'answers':>10}{'p50 ms':>10}{'p99 ms':>10}{head}", flush=True)
        await soak.run(seconds, texts, rate)
    slopes = {name: soak.slope(name) for name in pids}
    told = ", ".join(f"{name} {slope:+.1f} MB an hour" for name, slope in slopes.items())
    print(f"slope after {WARM_MINUTES} minutes: {told}")
    print(f"applied: {soak.applied:,}; answers that were no success: {soak.wrong}")
    return soak.wrong == 0 and all(slope <= AIM_MB for slope in slopes.values())


def main() -> None:
    """Measure and print; ends with 1 where memory grows or an answer was no success."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=15)
    parser.add_argument("--rate", type=int, default=5, help="declarations a second")
    chosen = parser.parse_args()
    try:
        with fleet.servers("server") as told:
            good = asyncio.run(run(chosen.minutes, chosen.rate, told))
    except Absent as absent:
        print(f"soak: {absent}")
        return
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
