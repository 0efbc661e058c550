"""Previews and drafts of mapping files."""

import json
from pathlib import Path
from typing import Any

import pytest

from connectors import mapping_draft, preview
from connectors.mapping import Mapping, load, packaged
from connectors.mapping_check import run_tests
from connectors.mapping_draft import columns, drafted
from connectors.mapping_files import asked
from connectors.preview import grounds_of, options_of, seen, seen_lines
from connectors.program import main
from schemas.catalogue import builtin
from schemas.errors import Refused
from schemas.names import EventType

MOVED = builtin().by_type(EventType("fr.unefois.address.changed.v1"))
HEAD = b"name: test\nversion: 1\nevent_type: fr.unefois.address.changed.v1\n"
OWN = b"""direction: out
fields:
  NOM: record.subject.family_name
  RUE: record.new_address.street
  TEL: keep_if_withheld(record.phone)
  LIVRAISON: delivery.id
tests:
  - name: one
    given: {record: {subject: {family_name: Roux}, new_address: {street: rue A}, phone: null}}
    expect: {NOM: Roux, RUE: rue A, TEL: null, LIVRAISON: 00000000-0000-8000-8000-000000000001}
"""
GROUNDS = {"subject": "consent", "new_address": "consent", "vehicles": "consent"}


def own(text: bytes = OWN) -> Mapping:
    return load(HEAD + text)


def shown(**more: Any) -> dict[str, Any]:
    return seen(own(), MOVED, more.pop("grounds", GROUNDS), "en", **more)


def test_each_target_has_its_fields_and_each_field_its_ground() -> None:
    told = shown()
    assert {"NOM": "consent", "RUE": "consent", "TEL": None} == {
        one["target"]: read["ground"] for one in told["targets"] for read in one["reads"]
    }
    assert (["vehicles"], []) == (told["unused"], told["problems"])
    lines = list(seen_lines(told, "en"))
    assert ["NOM        ← subject ← consent", "TEL        ← phone ← not granted", "Granted, never read: vehicles"] == [
        lines[0],
        lines[2],
        lines[4],
    ]


def test_what_is_read_and_not_granted_is_a_problem_and_there_is_no_row() -> None:
    told = shown(grounds={"subject": "consent"})
    assert [("mapping.not-granted", "/fields/RUE")] == [(one["code"], one["pointer"]) for one in told["problems"]]
    assert [] == told["rows"]


def test_what_is_needed_on_two_grounds_comes_in_two_deliveries_and_is_a_problem() -> None:
    told = shown(grounds={"subject": "CGCT", "new_address": "consent"})
    assert ["mapping.two-grounds"] == [one["code"] for one in told["problems"]]
    assert [] == shown(grounds={"subject": "a", "new_address": "a", "phone": "b"})["problems"]


def test_the_row_is_that_of_the_sample_with_what_is_not_granted_withheld() -> None:
    (row,) = shown()["rows"]
    assert {"NOM", "RUE", "LIVRAISON"} == row.keys()
    (row,) = seen(own(), MOVED, None, "en")["rows"]
    assert "TEL" in row
    mine = {"subject": {"family_name": "Œuvrard"}, "new_address": {"street": "rue de l’Échange"}}
    (row,) = shown(given={"record": mine})["rows"]
    assert ("Œuvrard", "rue de l’Échange") == (row["NOM"], row["RUE"])


def test_lost_letters_and_cut_names_are_flagged_and_counted() -> None:
    mine = {"subject": {"family_name": "Œuvrard"}, "new_address": {"street": "rue de l’Œuf"}}
    told = shown(given=mine, encoding="iso-8859-1", widths={"NOM": 6, "RUE": 12})
    assert [("NOM", 1, 1), ("RUE", 2, 0)] == [(one["target"], one["lost"], one["over"]) for one in told["flags"]]
    assert (2, 1) == (told["lost"], told["cut"])
    text = "\n".join(seen_lines(told, "fr"))
    assert "Œuvrard  ⚠ 1 lettre(s) perdue(s)  ⚠ 1 caractère(s) de trop" in text
    assert "lettres perdues : 2, trop longues : 1" in text
    assert [] == shown(given=mine, encoding="cp1252", widths={"NOM": 7})["flags"]


def test_a_sample_that_fails_is_told_with_its_place() -> None:
    told = shown(given={"subject": "x", "new_address": {"street": 4}})
    assert [{"NOM": None, "RUE": 4, "LIVRAISON": "00000000-0000-8000-8000-000000000001"}] == told["rows"]
    told = seen(own(OWN.replace(b"record.new_address.street", b"upper(record.new_address.street)")), MOVED, None, "en",
                given={"subject": {}, "new_address": {"street": 4}})  # fmt: skip
    assert [("mapping.argument", "/RUE")] == [(one["code"], one["pointer"]) for one in told["problems"]]


@pytest.mark.parametrize("words", [("latin-99", ()), (None, ("NOM",)), (None, ("=3",)), (None, ("NOM=x",))])
def test_words_that_are_no_options_are_not_understood(words: tuple[str | None, tuple[str, ...]]) -> None:
    with pytest.raises(ValueError, match=r"encoding|COLUMN"):
        options_of(*words)


def test_grounds_are_named_on_the_command_line() -> None:
    assert {"subject": "", "phone": "CGCT, art. L1"} == grounds_of(["subject", "phone=CGCT, art. L1"])


def test_targets_without_a_value_in_any_test_are_named() -> None:
    told = preview.tested(own(), MOVED, None, "en")
    assert ["TEL"] == told["untested"]
    assert ["✓ one", "With a value in no test: TEL"] == list(preview.tested_lines(told, "en"))


@pytest.mark.parametrize("name", sorted(packaged()))
def test_every_packaged_mapping_has_a_preview(name: str) -> None:
    mapping = asked(name)
    told = seen(mapping, builtin().by_type(mapping.event_type), None, "fr")
    assert [] == told["problems"]
    assert (mapping.direction.value == "out") is bool(told["rows"])


SAMPLE = """REFERENCE;NOM;PRÉNOMS;Date naissance;SEXE;L1;L4;L6;Code postal;IDENTITE;ENFANTS;DATE_EFFET;DDN
1;Quenouillard;Zéphyrienne;13/04/1990;F;;;;35000;Quenouillard Zéphyrienne;;20260102;11121112
"""


def test_a_draft_guesses_by_names_and_dates_and_leaves_the_rest_with_candidates() -> None:
    text = drafted("ours", SAMPLE.encode(), MOVED, inbound=False)
    mapping = load(text.encode())
    assert [
        "REFERENCE",
        "NOM",
        "PRÉNOMS",
        "Date naissance",
        "SEXE",
        "L1",
        "L4",
        "L6",
        "Code postal",
        "DATE_EFFET",
    ] == list(mapping.targets)
    assert "date_zeros(record.effective_date, 'yyyymmdd')" in text
    assert "#   ENFANTS: ?   candidates: " in text
    assert "#   DDN: ?" in text
    assert [True] == [one.passed for one in run_tests(mapping, MOVED)]
    assert not any(value in text for value in ("Quenouillard", "Zéphyrienne", "1990", "35000;"))


def test_an_inbound_draft_names_what_is_missing_and_never_splits_a_name() -> None:
    sample = [{"nomPrenom": "QUENOUILLARD ZOE", "prenom": "Zoé", 'a"b': "", "adresse": {"codePostal": "35000"}}]
    text = drafted("ours", json.dumps(sample).encode(), MOVED, inbound=True)
    mapping = load(text.encode())
    assert {"subject": {"given_names": ["Zoé"]}, "new_address": {"postcode": "35000"}} == mapping.apply(sample[0])
    assert "nomPrenom: a whole name is not split" in text
    assert "The event type demands as well: capacity, effective_date" in text
    assert "QUENOUILLARD" not in text


@pytest.mark.parametrize("inbound", [False, True])
@pytest.mark.parametrize("event", builtin().newest, ids=lambda event: event.event_type)
def test_a_sample_of_which_nothing_is_known_is_a_draft_all_the_same(event: Any, inbound: bool) -> None:
    assert "#   XYZ: ?" in drafted("ours", b"XYZ;NOM COMPLET\n1;2\n", event, inbound=inbound)


@pytest.mark.parametrize(
    "raw", [b"", b"A;A\n", b"A;\n", b"[]", b"[1]", b"{", b'A;"B\n', b";".join([b"A%d" % n for n in range(201)])]
)
def test_a_sample_without_sound_columns_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused, match=r"mapping\.sample"):
        columns(raw)


def test_a_sample_that_is_too_large_is_refused() -> None:
    with pytest.raises(Refused, match=r"yaml\.too-large"):
        mapping_draft.columns(b" " * (256 * 1024 + 1))


def test_the_agencys_program_tests_shows_and_begins_mappings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path := tmp_path / "own.yaml").write_bytes(HEAD + OWN)
    (sample := tmp_path / "s.csv").write_text(SAMPLE)
    main(["mapping", "test", str(path), "--lang", "fr"])
    main(["mapping", "preview", str(path), "--json", "--width", "NOM=3"])
    out = capsys.readouterr().out
    assert out.startswith("✓ one\nSans valeur dans aucun test : TEL\n{")
    assert 1 == json.loads(out[out.index("{") :])["cut"]
    main(["mapping", "new", "ours", "--from", str(sample), "--type", "address.changed"])
    assert "ours" == load(capsys.readouterr().out.encode()).name
    main(["mapping", "list"])
    assert sorted(packaged()) == capsys.readouterr().out.split()
    for words, code in (
        (["preview", str(path), "--granted", "phone"], 1),
        (["preview", str(path), "--encoding", "latin-99"], 2),
        (["test", str(path), "--granted", "phone"], 1),
        (["new", "ours", "--from", str(tmp_path / "none"), "--type", "address.changed"], 1),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["mapping", *words])
        assert code == ended.value.code
