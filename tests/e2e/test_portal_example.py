"""`examples/portal`: a town's own portal does a household's move and its revocation, against a served broker and the
strict provider, as programs of their own over real sockets.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, build_opener

from broker.access.credentials import Scope
from broker.access.identity_tokens import Door
from broker.lab.franceconnect.app import PATHS, app
from broker.lab.franceconnect.provider import Provider, Registered
from consent.representation import Measure
from tests.answering import answering
from tests.franceconnect import PORTALS, PORTALS_BACK
from tests.served import served
from tests.unit.broker.families import LOU, acts
from tests.world import CAF, PORTAL, RENNES_ADDRESS, YANN, Entropy, World

ROOT = Path(__file__).parents[2]
RECORD = {
    "effective_date": "2026-12-01",
    "new_address": RENNES_ADDRESS,
    "new_commune": "35238",
    "new_country": "99100",
    "occupants": 3,
}
FORM = {"recipient": CAF, "record": RECORD, "others": [{"person": YANN}, {"person": LOU, "capacity": "parent"}]}


class Still(HTTPRedirectHandler):
    """A browser that shows where it would go."""

    def redirect_request(self, *_: object) -> None:
        """Nowhere."""


def click(url: str) -> str:
    """Élise signs in with one click: where the browser goes then."""
    browser = build_opener(ProxyHandler({}), Still())
    shown = browser.open(url).read().decode()
    (number,) = re.findall(r'name="number" value="([^"]+)"', shown)
    sent = urlencode({"number": number, "person": "elise"}).encode()
    try:
        browser.open(url.partition("authorize?")[0] + "choose", sent)
    except OSError as moved:  # 303 is an error to whoever follows nothing
        return str(moved.headers["location"])  # type: ignore[attr-defined]
    raise AssertionError("no redirect")


def test_a_household_moves_and_takes_its_consent_back(tmp_path: Path) -> None:
    made: dict[str, Any] = {}
    (home := tmp_path / "home").mkdir()

    async def franceconnect(scope: Any, receive: Any, send: Any) -> None:  # whose issuer is its own address
        await made["app"](scope, receive, send)

    with served(franceconnect) as url:  # type: ignore[arg-type]
        issuer = url + PATHS[Door.FRANCECONNECT]
        settings = {
            "franceconnect_issuer": issuer,
            "portal_clients": {PORTAL: (PORTALS,)},
            "outbound_allowed": (urlsplit(url).netloc,),
        }
        with answering(home, **settings) as broker:
            ours = Registered(PORTALS, frozenset({PORTALS_BACK}), secret="portal")
            provider = Provider(Door.FRANCECONNECT, issuer, [ours], clock=broker.here.clock, entropy=Entropy(b"fc"))
            made["app"] = app({Door.FRANCECONNECT: provider})
            broker.inside(_child)
            told = _run(tmp_path, broker.url, broker.token(PORTAL, Scope.CITIZENS), issuer)
            assert "+ caf recevra" in told, told
            assert "Déclarées : 2 ; à confirmer : 1" in told
            assert "ne reçoit plus rien" in told
            assert [] == broker.inside(_taken)


async def _child(here: World) -> None:
    await acts(here, Measure.PARENTAL_AUTHORITY, subject=LOU)


async def _taken(here: World) -> list[object]:
    """What the family office gets: the consent ended before it was routed."""
    await here.home.router.route()
    return list(await here.take(CAF))


def _run(folder: Path, broker: str, token: str, issuer: str) -> str:
    form = folder / "form.json"
    form.write_text(json.dumps(FORM), encoding="utf-8")
    environment = {
        "BROKER": broker,
        "PORTAL_TOKEN": token,
        "ISSUER": issuer,
        "CLIENT_ID": PORTALS,
        "CLIENT_SECRET": "portal",
        "REDIRECT": PORTALS_BACK,
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        "no_proxy": "*",
    }
    command = [sys.executable, str(ROOT / "examples/portal/portal.py"), str(form)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as portal:
        assert portal.stdin is not None
        assert portal.stdout is not None
        first = portal.stdout.readline()
        assert first.startswith("Sign in: "), first + portal.stdout.read()
        told, _ = portal.communicate(click(first.removeprefix("Sign in: ").strip()) + "\n", timeout=60)
    assert 0 == portal.returncode, told
    return told
