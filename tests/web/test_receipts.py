"""Receipts in the page: what the command finds good is good in a real browser, what it refuses is refused, and one
changed byte is enough."""

import asyncio
import base64
import json
import sys
from asyncio.subprocess import DEVNULL
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page

from broker.services import parties, proofs
from consent.receipt import verify_by_directory
from schemas import receipt
from schemas.directory import Directory
from schemas.errors import Refused
from schemas.facts import FactKind
from tests.web.chromium import Town
from tests.world import CAF, FAMILY, MOVED, World

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

CHECK = """async ([kind, raw, key]) => {
  const told = JSON.parse(document.getElementById('donnees').textContent);
  const address = document.querySelector('script[type=module]').src;
  const made = await import(address);
  const bytes = Uint8Array.from(atob(raw), (one) => one.charCodeAt(0));
  try {
    const found = kind === 'ledger'
      ? await made.check_ledger(bytes, key, told.words)
      : await made.check_consent(bytes, key, told.directory);
    return ['good', found];
  } catch (fault) {
    return [fault instanceof made.Unchecked ? 'unchecked' : fault instanceof made.Refused ? 'bad' : 'broken',
      fault.message];
  }
}"""
"""One receipt, by the functions of the page's own script."""

CHANGED = """async ([kind, raw, key, step, bits]) => {
  const told = JSON.parse(document.getElementById('donnees').textContent);
  const made = await import(document.querySelector('script[type=module]').src);
  const bytes = Uint8Array.from(atob(raw), (one) => one.charCodeAt(0));
  const check = () => kind === 'ledger'
    ? made.check_ledger(bytes, key, told.words)
    : made.check_consent(bytes, key, told.directory);
  const good = [];
  let tried = 0;
  for (let at = 0; at < bytes.length; at += step) {
    for (const bit of bits) {
      bytes[at] ^= bit;
      tried += 1;
      try {
        await check();
        good.push([at, bit]);
      } catch (fault) {
        if (!(fault instanceof made.Refused)) good.push([at, bit, String(fault)]);
      }
      bytes[at] ^= bit;
    }
  }
  await check();
  return [tried, good];
}"""
"""Every `step`-th byte of a receipt with each of these bits turned: how many were tried, and which were not refused."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(there: Town) -> Page:
    """The page that checks."""
    made = await there.page()
    await made.goto(f"{there.address}/espace/verifier")
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(there: Town) -> dict[str, bytes]:
    """Receipts of one delivery's way, of a consent and of something public, in both languages."""
    return await receipts(there.here)


async def receipts(here: World) -> dict[str, bytes]:
    """By name; those that begin with `ledger` are of the ledger."""
    given = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    declared = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.step()
    found = {}
    for kind in (FactKind.RECEIVED, FactKind.PLANNED, FactKind.RELEASED, FactKind.APPLIED):
        of = declared.declaration_id if kind is FactKind.RECEIVED else (await here.entries(kind))[0].delivery
        assert of is not None
        for language in ("fr", "en"):
            text = await proofs.prove(here.home, of, kind, "en" if language == "en" else "fr")
            found[f"ledger-{kind.value}-{language}"] = text.encode()
    text = await proofs.prove(here.home, given.grant.id, FactKind.GRANTED, "fr")
    found["ledger-granted-fr"] = text.encode()
    from broker.services.consent_receipts import receipt_of

    found["consent-given"] = await receipt_of(here.home, given)
    return found


def key_of(there: Town) -> str:
    return there.here.home.ledger.verifier_key.text


async def checked(page: Page, name: str, raw: bytes, key: str) -> list[Any]:
    kind = name.partition("-")[0]
    told: list[Any] = await page.evaluate(CHECK, [kind, base64.b64encode(raw).decode(), key])
    return told


async def test_what_the_command_finds_good_is_good_and_says_the_same(
    there: Town, page: Page, made: dict[str, bytes]
) -> None:
    newest = await parties.directory(there.here.home)
    for name, raw in made.items():
        verdict, found = await checked(page, name, raw, key_of(there))
        assert ("good", name) == (verdict, name), found
        if name.startswith("ledger"):
            known = receipt.check(raw.decode(), there.here.home.ledger.verifier_key)
            language = "en" if name.endswith("en") else "fr"
            assert [list(each) for each in receipt.meaning(known.facts, language)] == found["lines"]
            assert (known.origin, str(known.index), str(known.size)) == (found["origin"], found["index"], found["size"])
        else:
            content = verify_by_directory(raw, Directory.from_json(newest.content))
            assert (content.receipt_id, content.ledger_entry.hex()) == (found["receipt_id"], found["ledger_entry"])


async def test_a_sample_of_changed_bytes_is_refused(there: Town, page: Page, made: dict[str, bytes]) -> None:
    for name, raw in made.items():
        told = [name.partition("-")[0], base64.b64encode(raw).decode(), key_of(there), 37, [1]]
        tried, good = await page.evaluate(CHANGED, told)
        assert (-(-len(raw) // 37), []) == (tried, good), name


@pytest.mark.proof
async def test_every_bit_of_every_byte_counts(there: Town, page: Page, made: dict[str, bytes]) -> None:
    for name in ("ledger-released-fr", "ledger-received-en", "consent-given"):
        raw, bits = made[name], [1, 2, 4, 8, 16, 32, 64, 128]
        told = [name.partition("-")[0], base64.b64encode(raw).decode(), key_of(there), 1, bits]
        tried, good = await page.evaluate(CHANGED, told)
        assert (8 * len(raw), []) == (tried, good), name


async def test_a_byte_less_a_byte_more_and_another_receipts_parts_are_refused(
    there: Town, page: Page, made: dict[str, bytes]
) -> None:
    one, other = made["ledger-released-fr"], made["ledger-applied-fr"]
    mark = b"\nc2sp.org/tlog-proof@v1\n"
    mixed = one.partition(mark)[0] + mark + other.partition(mark)[2]
    for raw in (one[:-1], one + b"\n", one[1:], mixed, b"", b"{}", b"\xff" * 40, made["ledger-released-en"][:100]):
        for kind in ("ledger", "consent"):
            assert "bad" == (await checked(page, kind, raw, key_of(there)))[0]


async def test_windows_line_ends_and_a_byte_order_mark_are_forgiven_as_by_the_command(
    there: Town, page: Page, made: dict[str, bytes]
) -> None:
    edited = b"\xef\xbb\xbf" + made["ledger-released-fr"].replace(b"\n", b"\r\n")

    receipt.check(edited.decode(), there.here.home.ledger.verifier_key)
    assert "good" == (await checked(page, "ledger", edited, key_of(there)))[0]


async def test_another_ledgers_key_proves_nothing(there: Town, page: Page, made: dict[str, bytes]) -> None:
    from schemas.note import VerifierKey
    from schemas.signing import Algorithm, PrivateKey

    name = there.here.home.ledger.verifier_key.name
    strangers = VerifierKey.of(name, PrivateKey.from_raw(Algorithm.ED25519, bytes(range(32)))).text
    for kind in ("ledger-released-fr", "consent-given"):
        assert "bad" == (await checked(page, kind, made[kind], strangers))[0]
    with pytest.raises(Refused):
        receipt.check(made["ledger-released-fr"].decode(), VerifierKey.parse(strangers))


async def test_what_the_browser_cannot_check_is_said_to_be_unchecked_and_never_good(
    there: Town, page: Page, made: dict[str, bytes]
) -> None:
    """A receipt of the first format; a key of a kind that is no ledger's."""
    first = made["ledger-released-fr"].replace(b"version 2", b"version 1", 1)
    assert "unchecked" == (await checked(page, "ledger", first, key_of(there)))[0]
    from schemas.note import KeyType, VerifierKey
    from schemas.signing import Algorithm, PrivateKey

    other = VerifierKey.of("a", PrivateKey.generate(Algorithm.ML_DSA_44), KeyType.COSIGNATURE_ML_DSA_44).text
    assert "unchecked" == (await checked(page, "ledger", made["ledger-released-fr"], other))[0]


async def test_somebody_checks_a_file_with_the_keyboard_alone_and_the_page_talks_to_nobody(
    there: Town, made: dict[str, bytes]
) -> None:
    page = await there.page(width=320)
    await page.goto(f"{there.address}/espace/verifier")
    await page.wait_for_selector("#verifier:not([hidden])")
    there.asked.clear()
    for name, raw, title in (
        ("recu.txt", made["ledger-released-fr"], "Ce reçu est authentique"),
        ("recu.json", made["consent-given"], "Ce reçu est authentique"),
        ("recu.txt", made["ledger-released-fr"].replace(b"caf", b"cpm", 1), "Ce reçu ne prouve rien"),
    ):
        await page.set_input_files("#recu", {"name": name, "mimeType": "text/plain", "buffer": raw})
        await page.focus("#cle")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.locator("#resultat h2", has_text=title).wait_for(timeout=5000)
        assert "resultat" == await page.evaluate("document.activeElement.id")
    assert [] == [one for one in there.asked if not one.startswith("data:")]
    refused = await page.evaluate("fetch('/espace').then(() => 'open', () => 'closed')")
    assert "closed" == refused


async def test_the_command_finds_the_same_files_good_and_a_changed_one_bad(
    there: Town, made: dict[str, bytes], tmp_path: Path
) -> None:
    newest = await parties.directory(there.here.home)
    (tmp_path / "directory.json").write_text(json.dumps({"directory": newest.content, "note": newest.note}), "utf-8")
    for name, command in (("ledger-released-fr", ["audit", "check"]), ("consent-given", ["receipt", "verify"])):
        more = ["--directory", str(tmp_path / "directory.json")] if name == "consent-given" else []
        for raw, expected in ((made[name], 0), (made[name].replace(b"a", b"b", 1), 1)):
            (tmp_path / name).write_bytes(raw)
            asked = [sys.executable, "-m", "broker", *command, str(tmp_path / name), *more, "--key", key_of(there)]
            done = await asyncio.create_subprocess_exec(*asked, stdout=DEVNULL, stderr=DEVNULL, cwd=tmp_path)
            assert (name, expected) == (name, await done.wait())
