"""The demo's story, act by act: the same code that is told on a screen, its claims, and what they rest on.

The acts are played once; each test looks at what was left behind. Two more performances go wrong on purpose.
"""

import asyncio
import csv
import io
import json
import shlex
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from broker.cli import demo
from broker.cli.app import asked
from broker.cli.demo import cast, stranger, theatre
from broker.cli.demo.claims import Book, marks
from broker.cli.demo.facts import Fact, facts_of
from broker.cli.demo.stage import Stage, set_up
from broker.cli.demo.story import ACTS, play
from broker.cli.demo.telling import Telling, console_of
from broker.cli.demo.words import Words, language_of, table
from broker.maintenance.checks.finding import Finding
from schemas.facts import FactKind
from schemas.names import PartyId, Reason
from tests.announced import announce

NANTES, RENNES, FAMILY, HEALTH, TAX, ENERGY = (each.party for each in cast.ADMINISTRATIONS)
CLAIMS = {
    "allow": ("named", "receipts", "law"),
    "rehearse": ("nothing_written", "only_granted"),
    "declare": ("signed", "receipt", "as_rehearsed", "unreadable"),
    "deliver": ("applied", "tables", "csv", "webhook", "forged_call", "once"),
    "compare": ("exactly", "carried", "unlinkable", "nobody"),
    "revoke": ("refused", "only_that", "noise", "backup", "ledger"),
    "correct": ("same", "nobody_else", "everywhere", "rows"),
    "ruling": ("birth", "death", "told_why", "objection", "only_that"),
    "undoing": ("unknown", "repaired", "number", "cancelled", "told", "held", "stopped"),
    "sheltering": ("silent", "partner", "former", "new", "again"),
    "household": ("together", "record", "parent", "confirmed", "once", "apart"),
    "renaming": ("stranger", "waits", "refused", "found", "number", "withdrawn", "apart"),
    "attack": ("refused", "recorded", "replay", "swapped"),
    "prove": ("offline", "only_schemas", "false"),
    "publish": ("stranger", "changed", "grew", "invariants"),
    "tamper": ("all_found", "copy_clean"),
}
"""What each act claims before fsck has the last word; the last act looks for the family's values once more."""


@dataclass
class Played:
    """A whole performance, and what could be seen after each act."""

    root: Path
    text: str = ""
    book: Book = field(default_factory=Book)
    acts: list[str] = field(default_factory=list)
    fsck: dict[str, list[Finding]] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)

    def entries(self, kind: FactKind, recipient: PartyId) -> list[Fact]:
        """What the ledger says of this kind about one administration."""
        return [each for each in self.facts if each.facts.kind is kind and each.facts.recipient == recipient]

    def rows(self, database: str, query: str) -> list[dict[str, Any]]:
        """Rows of an agency's own database."""
        with closing(sqlite3.connect(self.root / database)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]

    def files(self, folder: str) -> list[bytes]:
        """The content of every file below a folder."""
        return [path.read_bytes() for path in (self.root / folder).rglob("*") if path.is_file()]


async def performed(root: Path) -> Played:
    """Play every act in French, with fsck from outside after each."""
    played, out = Played(root), io.StringIO()
    async with set_up(root, Words("fr"), Telling(console_of(out)), played.book, {}) as stage:
        async for act in play(stage):
            played.acts.append(act)
            played.fsck[act] = await stage.home.fsck.check()
        played.facts = await facts_of(stage.home)
    played.text = out.getvalue()
    return played


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """One performance for the whole file."""
    with pytest.MonkeyPatch.context() as patch:
        announce(patch)
        yield asyncio.run(performed(tmp_path_factory.mktemp("demo")))


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connectors, for performances of their own."""
    announce(monkeypatch)


def test_every_act_is_played_and_every_claim_holds(played: Played) -> None:
    assert list(ACTS) == played.acts
    assert () == played.book.failing


def test_no_claim_is_lost(played: Played) -> None:
    expected = [key for act in ACTS for key in (*(f"{act}.{name}" for name in CLAIMS[act]), "stage.fsck")]
    expected.insert(-1, "declare.unreadable")
    assert expected == [claim.key for claim in played.book.claims]


def test_fsck_finds_nothing_after_any_act(played: Played) -> None:
    assert {act: [] for act in ACTS} == played.fsck


def test_every_claim_is_told_with_its_verdict_in_80_columns(played: Played) -> None:
    assert len(played.book.claims) == played.text.count("✓ ")
    assert "✗" not in played.text
    assert 80 >= max(map(len, played.text.splitlines()))


def test_the_commune_that_is_left_learns_where_they_go_but_not_the_address(played: Played) -> None:
    (row,) = played.rows("nantes/town.db", "SELECT * FROM departs")
    assert ("KORRIGAL", "2026-12-01", "35238") == (row["nom"], row["date_depart"], row["commune_arrivee"])
    street = cast.STREET.encode()
    assert not [content for content in played.files("nantes") if street in content or street.upper() in content]


def test_the_new_commune_has_the_corrected_address_in_one_row_and_no_telephone(played: Played) -> None:
    (row,) = played.rows("rennes/town.db", "SELECT * FROM arrivees WHERE nom = 'KORRIGAL'")
    assert ("17 RUE DU PHARE BLANC", 4) == (row["voie"], row["occupants"])
    assert (None, "maelle.korrigal@example.org") == (row["telephone"], row["courriel"])


def test_the_family_fund_has_two_files_the_mistake_and_the_correction(played: Played) -> None:
    contents = [path.read_bytes() for path in sorted((played.root / "family/moves").glob("*.csv"))]
    rows = [
        row
        for content in contents
        for row in csv.DictReader(io.StringIO(content.decode("iso-8859-1"), newline=""), delimiter=";", strict=True)
    ]
    assert ["7 RUE DU PHARE BLANC", "17 RUE DU PHARE BLANC"] == [row["LIGNE4"] for row in rows]
    assert {("Maëlle", "17/03/1988", "4", "2")} == {
        (row["PRENOM"], row["DATE_NAISSANCE"], row["PERSONNES"], row["ENFANTS"]) for row in rows
    }


def test_the_family_fund_never_wrote_the_account_that_was_withheld(played: Played) -> None:
    assert [] == list((played.root / "family/accounts").glob("*.csv"))
    assert not [content for content in played.files("family") if cast.IBAN.encode() in content]


def test_the_health_fund_keeps_withheld_as_withheld_and_not_as_null(played: Played) -> None:
    kept = [json.loads(path.read_text()) for path in sorted((played.root / "health").glob("*.json"))]
    first, account, corrected, *later = kept
    born, died, number, moved, cancelled, *renamed = (each["delivery"]["basis"] for each in later)
    assert ["consent", "consent"] == renamed
    assert ("law:CRPA, art. L114-8", "law:CRPA, art. L114-8") == (born, died)
    assert ("consent", "consent", "law:RGPD, art. 19") == (number, moved, cancelled)
    assert ("WITHHELD", "+33639980142") == (first["record"]["email"], first["record"]["phone"])
    assert (cast.IBAN, "WITHHELD") == (account["record"]["iban"], account["record"]["bank"])
    assert ("17", "consent") == (corrected["record"]["new_address"]["housenumber"], corrected["delivery"]["basis"])


def test_the_tax_office_has_the_article_and_what_was_corrected(played: Played) -> None:
    hers = "SELECT * FROM residences WHERE nom_naissance = 'KORRIGAL' ORDER BY rowid"
    first, second = played.rows("tax/tax.db", hers)
    assert "law:CRPA, art. L114-8" == first["fondement"]
    assert (None, True) == (first["rectifie"], second["rectifie"] is not None)


def test_nothing_was_ever_released_to_the_administration_that_nobody_allowed(played: Played) -> None:
    assert [] == played.entries(FactKind.RELEASED, ENERGY)
    bases = [each.facts.basis for each in played.entries(FactKind.PLANNED, ENERGY)]
    planned = 5 + len(cast.HOUSEHOLD)  # one objected to, one cancelled, three and a household that it has not fetched
    assert [f"law:{cast.ENERGY.article}"] * planned == bases
    reasons = [each.facts.reason for each in played.entries(FactKind.WITHHELD, ENERGY)]
    # That it asks, and nobody allowed it, is no entry.
    assert [Reason.NOT_ORIGINAL_RECIPIENT, Reason.OBJECTED, Reason.OBJECTED, Reason.CANCELLED] == reasons
    assert [] == played.files("energy")


def test_the_ledger_tells_of_the_withdrawal_before_it_tells_that_nothing_was_handed_over(played: Played) -> None:
    kinds = [(each.facts.kind, each.facts.event_type) for each in played.facts if each.facts.recipient == FAMILY]
    bank = [kind for kind, event_type in kinds if event_type == cast.BANK]
    assert FactKind.RELEASED not in bank
    # The last two are of the account that somebody else declared, and of the declaration that was tampered with.
    assert [FactKind.PLANNED, FactKind.REVOKED, *[FactKind.WITHHELD] * 3] == bank[-5:]


def test_each_of_the_five_took_the_move_and_the_correction(played: Played) -> None:
    applied = {party: len(played.entries(FactKind.APPLIED, party)) for party in (NANTES, RENNES, FAMILY, HEALTH, TAX)}
    told = {NANTES: 2, RENNES: 2 + 2, FAMILY: 2 + 1, HEALTH: 3 + 2 + 3 + 2, TAX: 2 + 1 + 2 + 3 + len(cast.HOUSEHOLD)}
    assert told == applied
    assert [Reason.INVALID_DELIVERY] == [each.facts.reason for each in played.entries(FactKind.REJECTED, HEALTH)]


def test_the_stranger_believes_the_export_and_refuses_it_after_any_change(played: Played, tmp_path: Path) -> None:
    folder = played.root / "ledger"
    size, _, root = stranger.check(folder)
    assert len(played.facts) == size
    for path in (path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
        assert 1 == stranger.main([str(folder)]), path.name
        path.write_bytes(whole)
    assert (size, root) == stranger.check(folder)[::2]


def test_the_stranger_says_so_where_there_is_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 1 == stranger.main([str(tmp_path)])
    assert "FileNotFoundError" in capsys.readouterr().err


@pytest.mark.usefixtures("announced")
@pytest.mark.proof
def test_the_performance_in_english_says_the_same_ends_well_and_leaves_nothing(
    played: Played, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert 0 == demo.run(lang="en")
    told = capsys.readouterr().out
    assert f"{len(played.book.claims)} claims, all of them checked and true" in told
    assert "Try next" in told
    assert [] == list(tmp_path.iterdir())


@pytest.mark.usefixtures("announced")
def test_a_gate_that_forgets_to_ask_is_found_out_and_the_demo_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.flow.gate.at_release", lambda *_: None)
    monkeypatch.setattr("broker.consents.consents.withhold", _nothing)
    assert 1 == demo.run(lang="fr")
    assert "gate.key-missing" in capsys.readouterr().out


@pytest.mark.usefixtures("announced")
def test_a_false_claim_is_told_as_false_and_the_demo_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lie(stage: Stage) -> AsyncIterator[str]:
        stage.claim("deliver.once", held=False)
        stage.claim("deliver.tables", held=True)
        yield "deliver"

    monkeypatch.setattr(theatre, "play", lie)
    assert 1 == demo.run(lang="en")
    told = capsys.readouterr().out
    assert "1 of 2 claims hold" in told
    assert 1 == told.count("✗ A second round delivers nothing more")
    assert 2 == told.count("A second round delivers nothing more")


@pytest.mark.parametrize(
    ("encoding", "expected"), [("utf-8", ("✓", "✗")), ("ascii", ("OK", "NO")), (None, ("OK", "NO"))]
)
def test_a_verdict_can_be_told_from_the_other_in_any_encoding(encoding: str | None, expected: tuple[str, str]) -> None:
    assert expected == marks(encoding)


@pytest.mark.usefixtures("announced")
def test_an_act_that_breaks_off_is_a_claim_that_failed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_off(stage: Stage) -> AsyncIterator[str]:
        yield "allow"
        raise LookupError(cast.IBAN)

    monkeypatch.setattr(theatre, "play", break_off)
    assert 1 == demo.run(lang="en")
    told = capsys.readouterr().out
    assert "✗ The act stopped before its end.  LookupError" in told
    assert cast.IBAN not in told


def test_every_sentence_is_there_in_both_languages_and_fills_the_same_braces() -> None:
    for part, sentences in table().items():
        for key, told in sentences.items():
            assert {"fr", "en"} == set(told), f"{part}.{key}"
            assert _braces(told["fr"]) == _braces(told["en"]), f"{part}.{key}"


@pytest.mark.parametrize(
    ("told", "environment", "expected"),
    [
        ("fr", {"LANG": "en_GB.UTF-8"}, "fr"),
        (None, {"LANG": "fr_FR.UTF-8"}, "fr"),
        (None, {"LC_ALL": "en_US", "LANG": "fr_FR"}, "en"),
        (None, {"LC_ALL": "", "LANG": "fr"}, "fr"),
        (None, {"LANG": "br_FR"}, "en"),
        (None, {}, "en"),
    ],
)
def test_the_language_is_that_of_the_environment_unless_it_is_told(
    told: str | None, environment: dict[str, str], expected: str
) -> None:
    assert expected == language_of(told, environment)


@pytest.mark.usefixtures("announced")
def test_a_kept_folder_is_told_and_opens_with_the_commands_that_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing_more(stage: Stage) -> AsyncIterator[str]:
        stage.claim("stage.fsck", held=True)
        yield "allow"

    (place := tmp_path / "à côté de l'été").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    monkeypatch.setattr(theatre, "play", nothing_more)
    assert 0 == demo.run(lang="en", keep=True)
    told = capsys.readouterr().out
    commands = [shlex.split(line, comments=True)[1:] for line in told.splitlines() if line.startswith("  unefois ")]
    assert 3 == len(commands)
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            asked(command)(command)
        assert 0 == ended.value.code, command


async def _nothing(*_: object) -> None:
    """Withhold nothing."""


def _braces(text: str) -> list[str]:
    return sorted(part.partition("}")[0] for part in text.split("{")[1:])
