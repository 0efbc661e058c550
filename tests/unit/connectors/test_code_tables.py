"""Code tables in CSV files beside a mapping, and those of the catalogue."""

from pathlib import Path

import pytest

from connectors import code_tables
from connectors.code_tables import MAX_BYTES, of_catalogue, read
from connectors.mapping import load
from connectors.mapping_files import find
from schemas.errors import Refused

HEAD = "name: own\nversion: 1\nevent_type: fr.unefois.address.changed.v1\ndirection: out\n"
OWN = HEAD + "tables: {civility: civility.csv}\nfields: {C: \"code('civility', record.subject.gender)\"}\n"
GIVEN = {"record": {"subject": {"gender": "female"}}, "delivery": {}}
SOUND = b"value;code\nfemale;Mme\nmale;M.\n"


def refused(document: bytes) -> tuple[str, object, object]:
    with pytest.raises(Refused) as caught:
        read("civility", document)
    assert "civility" == caught.value.details["table"]
    return caught.value.code, caught.value.details.get("line"), caught.value.pointer


@pytest.mark.parametrize(
    "document",
    [
        SOUND,
        b"\xef\xbb\xbf" + SOUND,
        SOUND.replace(b"\n", b"\r\n"),
        SOUND.replace(b";", b","),
        SOUND.replace(b";", b"\t"),
        SOUND.replace(b"\n", b"\n\n"),
        SOUND.replace(b"Mme", b'"Mme"'),
    ],
)
def test_a_table_is_read_as_spreadsheets_write_it(document: bytes) -> None:
    assert {"female": "Mme", "male": "M."} == read("civility", document).codes


@pytest.mark.parametrize(
    ("code", "line", "document"),
    [
        ("mapping.table-header", None, b""),
        ("mapping.table-header", None, b"female;Mme\nmale;M.\n"),
        ("mapping.table-header", None, b"value|code\n"),
        ("mapping.table-twice", 4, SOUND + b"female;Madame\n"),
        ("mapping.table-line", 4, SOUND + b"other;\n"),
        ("mapping.table-line", 4, SOUND + b"other; X\n"),
        ("mapping.table-line", 4, SOUND + b"other\n"),
        ("mapping.table-line", 4, SOUND + b"other;X;Y\n"),
        ("mapping.table-line", 4, SOUND + b'other;"X\n'),
        ("mapping.table-encoding", 3, b"value;code\na;b\n\xe9;x\n"),
        ("mapping.table-header", None, SOUND.decode().encode("utf-16-le")),
        ("mapping.table-large", None, SOUND + b" " * MAX_BYTES),
    ],
)
def test_a_table_with_a_mistake_is_refused_with_its_line(code: str, line: int | None, document: bytes) -> None:
    assert (code, line, "") == refused(document)


def test_a_table_has_so_many_codes_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_tables, "MAX_CODES", 2)
    assert 2 == len(read("civility", SOUND).codes)
    assert "mapping.table-large" == refused(SOUND + b"other;X\n")[0]


def test_a_mapping_reads_the_table_beside_it(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    (tmp_path / "civility.csv").write_bytes(SOUND)
    assert {"C": "Mme"} == find("./own.yaml", tmp_path).apply(GIVEN)


def test_a_value_that_is_not_listed_is_refused_with_the_table_and_not_with_the_value() -> None:
    mapping = load(OWN.encode(), {"civility.csv": SOUND}.get)
    with pytest.raises(Refused) as caught:
        mapping.apply({"record": {"subject": {"gender": "quenouille"}}, "delivery": {}})
    assert ("mapping.no-code", "/C", "civility") == (
        caught.value.code,
        caught.value.pointer,
        caught.value.details["table"],
    )
    assert "quenouille" not in f"{caught.value}{caught.value.details}{caught.value.__context__}"


@pytest.mark.parametrize(
    ("code", "pointer", "text"),
    [
        ("mapping.table-missing", "/tables/civility", OWN),
        ("mapping.malformed", "/tables/civility", OWN.replace("civility.csv", "../civility.csv")),
        ("mapping.malformed", "/tables/civility", OWN.replace("civility.csv", "/etc/civility.csv")),
        ("mapping.table-name", "/tables/civility", OWN + "codes: {civility: {female: Mme}}\n"),
        ("mapping.unknown-table", "/fields/C", OWN.replace("'civility'", "'civilité'")),
    ],
)
def test_a_table_that_is_not_beside_the_file_is_refused(tmp_path: Path, code: str, pointer: str, text: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    if code == "mapping.unknown-table":
        (tmp_path / "civility.csv").write_bytes(SOUND)
    with pytest.raises(Refused) as caught:
        find("./own.yaml", tmp_path)
    assert (code, pointer, "./own.yaml") == (caught.value.code, caught.value.pointer, caught.value.details["file"])


def test_a_fault_of_a_table_has_its_place_in_the_mapping() -> None:
    with pytest.raises(Refused) as caught:
        load(OWN.encode(), {"civility.csv": b"female;Mme"}.get)
    assert ("mapping.table-header", "/tables/civility") == (caught.value.code, caught.value.pointer)


def test_the_enumerations_of_the_catalogue_are_tables_both_ways() -> None:
    text = HEAD + "fields: {L: \"code('Gender', record.subject.gender)\", S: \"code_back('UnionKind', 'Mariage')\"}\n"
    assert {"L": "Féminin", "S": "marriage"} == load(text.encode()).apply(GIVEN)
    for table in of_catalogue().values():
        for value, code in table.codes.items():
            assert value == table.value(str(code)), table.name
