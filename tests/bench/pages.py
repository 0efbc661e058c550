"""The citizens' pages in the bench: `unefois demo --serve` in a process of its own, read by a hundred citizens at once.

They turn a page every two seconds, at instants drawn by a seed, and nobody waits for another. They share eighty
sessions of the fictional people. Beside it a bare Starlette route on the same server program, asked in the same way.
On SQLite, as the demo is, and then on a real PostgreSQL, where there is one.

    python -m tests.bench.pages [--seconds 20]
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

import httpx2

from broker.lab.franceconnect.people import PEOPLE
from tests.bench.api import BARE, serving
from tests.bench.figures import Figure, cost, percentile, show
from tests.bench.fleet import ROOT
from tests.services import postgres
from tests.services.absent import Absent
from tests.services.databases import Databases, databases
from tests.services.processes import free_port

CITIZENS = 100
EVERY = 2.0
"""Seconds from one page to the next of one citizen."""
PAGES = ("", "/demenager", "/demarches", "/autorisations", "/historique", "/mes-donnees", "/sessions")


ELSEWHERE = """
import sys
from broker.cli.app import main
from broker.lab.web_demo import town
kept, database = town.settings_of, sys.argv.pop()
town.settings_of = lambda *told: kept(*told).model_copy(update={"database_url": database})
main()
"""
"""The demo, on the database that is named last."""


@contextmanager
def pages(database: str | None) -> Iterator[tuple[str, float]]:
    """The demo's pages: their address, and the seconds from the start of the program to the first page."""
    began = time.monotonic()
    program = ["-m", "broker"] if database is None else ["-c", ELSEWHERE]
    words = [sys.executable, *program, "demo", "--serve", "--listen", "127.0.0.1:0", *([database] if database else [])]
    environment = {**os.environ, "LANG": "C"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        place = process.stdout.readline().split()[-1]
        httpx2.get(place).raise_for_status()
        try:
            yield place, time.monotonic() - began
        finally:
            process.terminate()


async def signed_in(place: str, person: str) -> str:
    """The cookie of a new session, by the clicks that a person makes."""
    async with httpx2.AsyncClient(follow_redirects=True) as browser:
        page = await browser.get(f"{place}/connexion")
        form = re.search(r'<form method="post" action="([^"]+franceconnect[^"]*)".*?</form>', page.text, re.DOTALL)
        assert form is not None
        sent = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form[0]))
        headers = {"sec-fetch-site": "same-origin"}
        choosing = await browser.post(httpx2.URL(place).join(form[1]), data=sent, headers=headers)
        number = re.search(r'name="number" value="([^"]+)"', choosing.text)
        assert number is not None
        await browser.post(choosing.url.join("choose"), data={"number": number[1], "person": person})
        return browser.cookies["session"]


async def asked(plan: Sequence[tuple[float, str, str]]) -> list[float]:
    """Seconds that each answer took, from the instant at which it was to be asked for."""
    limits = httpx2.Limits(max_connections=CITIZENS, max_keepalive_connections=CITIZENS)
    async with httpx2.AsyncClient(limits=limits, timeout=60) as client:
        began = time.monotonic()

        async def one(at: float, url: str, cookie: str) -> float:
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            answer = await client.get(url, headers={"cookie": f"session={cookie}"})
            answer.raise_for_status()
            return time.monotonic() - began - at

        return list(await asyncio.gather(*(one(*each) for each in plan)))


def planned(urls: Sequence[str], cookies: Sequence[str], seconds: float) -> list[tuple[float, str, str]]:
    """(instant, address, cookie): what a hundred citizens ask for."""
    chance = Random(18)
    count = int(CITIZENS * seconds / EVERY)
    return sorted((chance.random() * seconds, chance.choice(urls), chance.choice(cookies)) for _ in range(count))


async def run(seconds: float, database: str | None) -> list[Figure]:
    """Every figure of the pages, on SQLite or on this PostgreSQL database."""
    port = free_port()
    with pages(database) as (place, first), serving([sys.executable, "-c", BARE, str(port)], os.environ, port) as bare:
        people = [one.key for one in PEOPLE if one.most == "eidas3"]
        cookies = [await signed_in(place, people[number % len(people)]) for number in range(20 * len(people))]
        await asked(planned([place + each for each in PAGES], cookies, 2))
        floor = await asked(planned([f"http://{bare}/"], ["-"], seconds))
        took = await asked(planned([place + each for each in PAGES], cookies, seconds))
    return [
        cost("first page after the start of the program", "s", first, 3),
        cost("a page, p50", "ms", 1000 * percentile(took, 0.5), 20, 1000 * percentile(floor, 0.5)),
        cost("a page, p99", "ms", 1000 * percentile(took, 0.99), 100, 1000 * percentile(floor, 0.99)),
    ]


async def on(server: Databases, seconds: float) -> list[Figure]:
    """Every figure, on a database of this server."""
    async with server.migrated() as url:
        return await run(seconds, url)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    seconds = parser.parse_args().seconds
    show("pages, on SQLite", asyncio.run(run(seconds, None)))
    try:
        with postgres.running() as address, databases(address) as server:
            show("pages, on PostgreSQL", asyncio.run(on(server, seconds)))
    except Absent as absent:
        print(f"\npages, on PostgreSQL: {absent}")


if __name__ == "__main__":
    main()
