"""The README's example runs as it is printed, and prints what it says."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from broker.cli.app import app
from broker.settings.choices import Settings
from broker.settings.sources import PREFIX
from schemas import catalogue
from schemas.declaration import Source, declare
from schemas.delivery import WITHHELD, open_release, verify_delivery
from schemas.directory import Directory, PolicyEntry, PublishingRight, SealingKeyEntry, SigningKeyEntry
from schemas.envelope import verify_declaration
from schemas.hpke import SealingKey, Suite
from schemas.names import DeclarationId, EventType, GrantId, Instant, LeafHash, PartyId, uuid7
from schemas.release import LockedDelivery, Statement, bitmap, lock, make_release, open_locked, seal_releases
from schemas.signing import Algorithm, PrivateKey

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
NOW = Instant(1_795_521_493_000)
DAY = 86_400_000
SOURCE, RECIPIENT, BROKER = (PartyId(f"urn:unefois:{name}") for name in ("portal", "caf", "broker"))
TYPE = EventType("fr.unefois.bank-account.changed.v1")


def _block() -> str:
    found = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    if found is None:
        pytest.fail("the README has no example")
    return found[1]


def _record() -> dict[str, Any]:
    subject = {
        "family_name": "Kermarrec",
        "given_names": ["Awen"],
        "birthdate": "1984-02-29",
        "gender": "female",
        "birthplace": "29019",
        "birthcountry": "99100",
    }
    event = catalogue.builtin().by_type(TYPE)
    blank: dict[str, Any] = {each.name: None for each in event.fields}
    return blank | {
        "subject": subject,
        "capacity": "self",
        "effective_date": "2026-12-01",
        "iban": "FR7630006000011234567890189",
        "holder": "Awen Kermarrec",
        "joint": False,
        "bank": "Banque du Ponant",
        "uses": ["payments"],
    }


def test_the_readmes_example_runs_and_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    signer, broker_key = PrivateKey.generate(Algorithm.ED25519), PrivateKey.generate(Algorithm.ED25519)
    gate, recipient_key = (SealingKey.generate(Suite.MLKEM768_X25519) for _ in range(2))
    gate_entry = SealingKeyEntry(gate.kid, BROKER, gate.suite, gate.public, NOW)
    directory = Directory.of(
        signing=[
            SigningKeyEntry(signer.kid, SOURCE, signer.algorithm, signer.public, NOW),
            SigningKeyEntry(broker_key.kid, BROKER, broker_key.algorithm, broker_key.public, NOW),
        ],
        sealing=[
            gate_entry,
            SealingKeyEntry(recipient_key.kid, RECIPIENT, recipient_key.suite, recipient_key.public, NOW),
        ],
        rights=[PublishingRight(SOURCE, TYPE, NOW)],
        policies=[PolicyEntry(SOURCE, 1, NOW)],
        broker=BROKER,
    )
    consent_key = os.urandom(32)

    def release_at_the_gate(locked: LockedDelivery) -> bytes:
        dek = open_locked(locked, consent_key, gate)
        count = len(catalogue.builtin().by_type(TYPE).fields)
        statement = Statement.of(
            locked,
            fields=bitmap(count, [field.index for field in locked.fields]),
            basis="consent",
            pseudonym=bytes(20),
            pseudonym_version=1,
            released_at=NOW,
            ledger_entry=LeafHash(bytes(32)),
        )
        release = make_release(locked, dek, statement, broker_key)
        return seal_releases([release], recipient_key.suite, recipient_key.public, [locked.delivery_id]).encode()

    told: dict[str, Any] = {
        "DAY": DAY,
        "DeclarationId": DeclarationId,
        "EventType": EventType,
        "catalogue": catalogue,
        "consent_key": consent_key,
        "declare": declare,
        "directory": directory,
        "gate_entry": gate_entry,
        "grant_id": GrantId(uuid7(NOW, bytes(10))),
        "lock": lock,
        "now": NOW,
        "open_release": open_release,
        "os": os,
        "recipient": RECIPIENT,
        "recipient_key": recipient_key,
        "record": _record(),
        "release_at_the_gate": release_at_the_gate,
        "source": Source(SOURCE, [signer], 1),
        "token": b"opaque",
        "uuid7": uuid7,
        "verify_declaration": verify_declaration,
        "verify_delivery": verify_delivery,
    }

    exec(compile(_block(), "README.md", "exec"), told)

    assert "FR7630006000011234567890189 WITHHELD\n" == capsys.readouterr().out
    assert told["delivery"].record["bank"] is WITHHELD


def test_the_readmes_example_has_at_most_fifteen_lines_of_code() -> None:
    code = [line for line in _block().splitlines() if line.strip() and not line.strip().startswith("#")]

    assert len(code) <= 15


def _console() -> str:
    """What the README tells to type, without the words beside it."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    return "\n".join(re.split(r"\s{2,}", line)[0] for block in blocks for line in block.splitlines())


def _commands(typed: str) -> set[tuple[str, ...]]:
    """Each command with its subcommand, where one is named."""
    found: set[tuple[str, ...]] = set()
    for words in re.findall(r"unefois ((?:[a-z]+)(?: [a-z]+)?)", typed):
        found.add(tuple(words.split()))
    return found | {(word,) for word in re.findall(r"\| ([a-z]+)", typed)}


def test_every_command_and_setting_that_is_named_exists() -> None:
    commands = get_command(app)
    for words in _commands(_console()):
        here = commands
        for word in words:
            assert word in here.commands, words
            here = here.commands[word]
            if not hasattr(here, "commands"):
                break
    named = {name.removesuffix("_FILE") for name in re.findall(rf"{PREFIX}([A-Z_]+)=", _console())}
    assert {"DATABASE_URL", "LOG", "KAFKA_BOOTSTRAP"} == named
    assert named <= {name.upper() for name in Settings.model_fields}


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text("utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]+)", README, re.MULTILINE))

    assert {"demo", "test", "demo-cluster", "test-proof", "bench", "docs"} <= named
    assert [] == [name for name in sorted(named) if not re.search(rf"^{name}:", makefile, re.MULTILINE)]
