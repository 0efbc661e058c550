"""Canaries typed into the pages: on the way they are in the person's own pages alone: in no address, header, title,
log line or file, also while they are held as a draft and under a code.
"""

import io
import logging
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from httpx2 import Response

from broker.observability import observe
from schemas.assurance import Assurance
from tests.faults.test_canary import PERSON, files, found
from tests.unit.broker.web.citizen.test_moving import ALONE, CHILD, START
from tests.web.citizens import Browser, browser
from tests.world import CAF, FAMILY, MOVED, world

pytestmark = pytest.mark.asyncio
STREET, DWELLING, NAMED = "Qjystreetcanary", "Xzdwellingcanary", "Pzhouseholdcanary"
MAIL, PHONE, CODE = "jqmailcanary@canary.example", "+33699887766", "KQZZAB-KQZZAB"
TYPED = (STREET, DWELLING, NAMED, MAIL, PHONE, CODE)
WHO = ("Zqxfamilycanary", "Wvkgivencanary", "1913-02-27")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged; afterwards the process's loggers are as they were."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield io.StringIO()
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:], level = before
    root.setLevel(level)


@pytest_asyncio.fixture
async def her(tmp_path: Path, lines: io.StringIO) -> AsyncIterator[tuple[Browser, list[Response]]]:
    """Somebody whose facts are canaries, and every answer that she is given."""
    async with world(tmp_path) as here, browser(here) as made:
        observe.configure("debug", here.clock, lines)
        heard: list[Response] = []

        async def hear(answer: Response) -> None:
            await answer.aread()
            heard.append(answer)

        made.client.event_hooks = {"response": [hear]}
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address", "household"], person=PERSON)
        await made.sign_in(PERSON, assurance=Assurance.SUBSTANTIAL)
        yield made, heard


async def test_what_is_typed_is_in_nothing_but_the_persons_own_pages(
    her: tuple[Browser, list[Response]], lines: io.StringIO, tmp_path: Path
) -> None:
    page, heard = her
    await page.send(f"{START}/commencer", {}, at=START)
    adress = {**ALONE["adresse"], "rue": f"4711 {STREET}", "complement": DWELLING}
    contact = {"telephone": "06 99 88 77 66", "courriel": MAIL}
    answers = {**ALONE, "qui": {"qui": "foyer"}, "adresse": adress, "contact": contact}
    for step, fields in answers.items():
        wrong = [dict.fromkeys(fields, f"{MAIL}@@{STREET}")] if step in {"date", "adresse", "contact"} else []
        for typed in (*wrong, fields):
            assert 303 == (await page.send(f"{START}/{step}", typed)).status_code
            await page.get(f"{START}/{step}?revoir=1")
    await page.send(f"{START}/foyer/personne", {**CHILD, "prenoms": NAMED})
    await page.send(f"{START}/code", {}, at=START)
    await page.send(f"{START}/reprendre", {"code": CODE}, at=START)
    entering = "/espace/connexion/code"
    assert 422 == (await page.post(entering, {"jeton": page.token(entering), "code": CODE})).status_code
    check = await page.get(f"{START}/verifier")
    held = files(tmp_path)
    await page.send(f"{START}/verifier", {})
    await page.here.home.router.route()
    for place in ("/espace/demarches", "/espace/historique", "/espace/autorisations", "/espace/mes-donnees"):
        await page.get(place)
    await page.here.step()

    names = {name for name, _ in held}
    assert any(name.endswith("-wal") for name in names), names
    around = [(str(one.url), str(one.request.url).encode()) for one in heard]
    around += [(f"headers of {one.url}", repr(one.headers.multi_items()).encode()) for one in heard]
    around += [(f"title of {one.url}", "".join(re.findall("<title>(.*?)</title>", one.text)).encode()) for one in heard]
    around += [("log", lines.getvalue().encode()), *held, *files(tmp_path)]
    assert set() == found([*TYPED, *WHO], around)
    mine = {one for one, _ in found(TYPED, [("check", check.content)])}
    assert {STREET, DWELLING, NAMED, MAIL, PHONE} == mine  # the search itself
    cached = [str(one.url) for one in heard if "no-store" not in one.headers["cache-control"]]
    assert [] == cached
    assert lines.getvalue().count("\n") > 1
