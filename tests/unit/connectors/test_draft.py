"""Drafts: a file of one's own, or an agency's, becomes a record that may be declared, or says where it is wrong."""

import json
from typing import Any

import pytest

from connectors.draft import of_mapping, of_record, read
from connectors.mapping import load
from schemas.catalogue import builtin
from schemas.errors import Refused
from schemas.names import EventType

BANK = EventType("fr.unefois.bank-account.changed.v1")
PERSON = {
    "family_name": "Aubépin",
    "given_names": ["Lise"],
    "birthdate": "1987-05-19",
    "gender": "female",
    "birthplace": "44109",
    "birthcountry": "99100",
}
RECORD = {
    "subject": PERSON,
    "capacity": "self",
    "effective_date": "2026-12-01",
    "iban": "FR7630006000011234567890189",
    "holder": "Mme Lise Aubépin",
    "uses": ["payments"],
    "joint": False,
}
MAPPING = b"""
name: in-house
version: 1
event_type: fr.unefois.bank-account.changed.v1
direction: in
parameters: {since: {doc: Day.}}
fields:
  subject: given.who
  capacity: "'self'"
  effective_date: parameters.since
  iban: given.account
  holder: given.name
  uses: "['payments']"
  joint: "`false`"
tests: []
"""


class TestReading:
    def test_json_and_yaml_read_alike(self) -> None:
        assert RECORD == read(json.dumps(RECORD).encode()) == read(json.dumps(RECORD, ensure_ascii=False).encode())
        assert {"a": ["01000", None, "NO"]} == read(b"a: ['01000', null, NO]\n")

    def test_json_that_no_yaml_reader_takes_is_read_as_json(self) -> None:
        assert {"name": "\U0001f600\t"} == read(b'{\t"name":\t"\\ud83d\\ude00\\t"}')

    def test_a_key_twice_is_refused_in_both_with_the_line(self) -> None:
        for document in (b'{"a": 1,\n "a": 2}', b"a: 1\na: 2\n"):
            with pytest.raises(Refused) as refused:
                read(document)
            assert ("yaml.key-twice", 2) == (refused.value.code, refused.value.details["line"])

    @pytest.mark.parametrize("document", [b"[" * 100_000, b'{"a": NaN}}', b"\xff\xfe"])
    def test_what_is_neither_is_refused(self, document: bytes) -> None:
        with pytest.raises(Refused, match=r"yaml\."):
            read(document)

    def test_a_document_beyond_the_limit_is_refused(self) -> None:
        with pytest.raises(Refused, match=r"yaml\.too-large"):
            read(b'{"a": "' + b"x" * 256 * 1024 + b'"}')


class TestRecord:
    def test_optional_fields_may_be_left_out(self) -> None:
        draft = of_record(RECORD, BANK, builtin())

        assert (None, "FR7630006000011234567890189") == (draft.record["bic"], draft.record["iban"])
        assert set(builtin().by_type(BANK).names) == set(draft.record)

    def test_a_file_may_name_its_own_type(self) -> None:
        assert BANK == of_record({"event_type": BANK, "record": RECORD}, None, builtin()).event_type
        assert BANK == of_record({"event_type": BANK, "record": RECORD}, BANK, builtin()).event_type

    def test_what_to_look_at_is_told_and_not_refused(self) -> None:
        draft = of_record(RECORD | {"subject": PERSON | {"birthplace": None}}, BANK, builtin())

        assert [("values.no-birthplace", "/subject/birthplace")] == [
            (each.code, each.pointer) for each in draft.warnings
        ]

    @pytest.mark.parametrize(
        ("document", "event_type", "code", "pointer"),
        [
            (RECORD, None, "draft.no-type", ""),
            ({"event_type": 7, "record": RECORD}, None, "draft.no-type", ""),
            ({"event_type": BANK, "record": RECORD}, "fr.unefois.name.changed.v1", "draft.other-type", "/event_type"),
            ([RECORD], BANK, "draft.not-a-record", ""),
            (RECORD, "fr.unefois.nothing.v1", "catalogue.unknown-type", ""),
            (RECORD | {"iban": "FR7630006000011234567890188"}, BANK, "values.iban", "/iban"),
        ],
    )
    def test_what_cannot_be_declared_is_refused_with_its_place(
        self, document: Any, event_type: str | None, code: str, pointer: str
    ) -> None:
        with pytest.raises(Refused) as refused:
            of_record(document, None if event_type is None else EventType(event_type), builtin())

        assert (code, pointer) == (refused.value.code, refused.value.pointer)

    def test_a_needed_field_may_not_be_left_out(self) -> None:
        with pytest.raises(Refused) as refused:
            of_record({name: value for name, value in RECORD.items() if name != "iban"}, BANK, builtin())

        assert "/iban" == refused.value.pointer

    def test_no_value_is_in_a_draft_s_repr(self) -> None:
        assert "FR76" not in repr(of_record(RECORD, BANK, builtin()))


class TestMapping:
    def test_an_agencys_document_becomes_a_record(self) -> None:
        given = {"who": PERSON, "account": RECORD["iban"], "name": RECORD["holder"]}

        draft = of_mapping(given, load(MAPPING), {"since": "2026-12-01"}, builtin())

        assert (BANK, RECORD["iban"]) == (draft.event_type, draft.record["iban"])

    def test_a_mapping_that_takes_declarations_makes_none(self) -> None:
        outbound = load(b"{name: o, version: 1, event_type: fr.unefois.bank-account.changed.v1, direction: out,"
                        b" fields: {iban: record.iban}}")  # fmt: skip

        with pytest.raises(Refused, match=r"draft\.direction"):
            of_mapping({}, outbound, {}, builtin())
