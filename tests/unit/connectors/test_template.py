"""XML by a template: filled, checked by its XSD, and never anything but text where a value stands."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from connectors.contract import Reject, Retry
from connectors.file.csv_line import Style
from connectors.file.formats import layout_of
from connectors.file.layout import About
from connectors.file.settings import FormatSettings
from connectors.file.template import Template
from schemas.errors import Refused

NAMES = ("NOM", "SEXE", "TEL")
ABOUT = About(3, "20261102")
TOWN = """<?xml version="1.0"?>
<m:Lot xmlns:m="urn:ville:mutations" xmlns:o="urn:other" xmlns:u="urn:unefois:template"
  jour="{$date}" numero="{$number}">
  <m:Mutation u:each="row" sexe="{SEXE}">
    <m:Nom>{NOM}</m:Nom>
    <m:Telephone u:omit="TEL">{TEL}</m:Telephone>
  </m:Mutation>
  <m:Fin n="{$rows}" mot="o:x {{}}"/>
</m:Lot>
"""
XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:ville:mutations"
  xmlns="urn:ville:mutations" elementFormDefault="qualified">
  <xs:include schemaLocation="types.xsd"/>
  <xs:element name="Lot"><xs:complexType><xs:sequence>
    <xs:element name="Mutation" maxOccurs="3"><xs:complexType><xs:sequence>
      <xs:element name="Nom" type="Nom"/>
      <xs:element name="Telephone" minOccurs="0"><xs:simpleType><xs:restriction base="xs:string">
        <xs:pattern value="\\+[0-9]{9,15}"/></xs:restriction></xs:simpleType></xs:element>
    </xs:sequence><xs:attribute name="sexe" use="required"/></xs:complexType></xs:element>
    <xs:element name="Fin"><xs:complexType><xs:attribute name="n" type="xs:int"/>
      <xs:attribute name="mot"/></xs:complexType></xs:element>
  </xs:sequence><xs:attribute name="jour" type="xs:date"/><xs:attribute name="numero" type="xs:int"/></xs:complexType>
  </xs:element>
</xs:schema>
"""
TYPES = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:ville:mutations">
  <xs:simpleType name="Nom"><xs:restriction base="xs:string"><xs:maxLength value="8"/></xs:restriction></xs:simpleType>
</xs:schema>
"""


def made(place: Path, text: str = TOWN, xsd: str | None = None, **style: Any) -> Template:
    (place / "t.xml").write_text(text, "utf-8")
    (place / "types.xsd").write_text(TYPES, "utf-8")
    (place / "t.xsd").write_text(xsd or "", "utf-8")
    style = {"line_end": "\n"} | style
    return Template.read(place / "t.xml", place / "t.xsd" if xsd else None, Style(**style), "comma")


def whole(layout: Template, *rows: Mapping[str, object]) -> bytes:
    return layout.whole(NAMES, [layout.line(NAMES, row) for row in rows], ABOUT)


def why(place: Path, text: str, **more: Any) -> tuple[str, str, object]:
    with pytest.raises(Refused) as caught:
        made(place, text, **more)
    return caught.value.code, caught.value.pointer, caught.value.details.get("why")


ONE: dict[str, object] = {"NOM": "Éa", "SEXE": "F", "TEL": "+33123456789"}


def test_rows_come_within_their_envelope_and_what_has_no_value_is_left_out(tmp_path: Path) -> None:
    told = whole(made(tmp_path), ONE, {"NOM": None, "SEXE": None})
    assert (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<m:Lot xmlns:m="urn:ville:mutations" xmlns:o="urn:other" jour="2026-11-02" numero="3">\n'
        '  <m:Mutation sexe="F">\n'
        "    <m:Nom>Éa</m:Nom>\n"
        "    <m:Telephone>+33123456789</m:Telephone>\n"
        "  </m:Mutation>\n"
        "  <m:Mutation>\n"
        "    <m:Nom></m:Nom>\n"
        "  </m:Mutation>\n"
        '  <m:Fin n="2" mot="o:x {}"/>\n'
        "</m:Lot>\n"
    ) == told.decode()


def test_a_letter_is_a_letter_in_latin_1_and_no_reference(tmp_path: Path) -> None:
    layout = made(tmp_path, encoding="iso-8859-1", line_end="\r\n")
    told = whole(layout, ONE)
    assert b'encoding="ISO-8859-1"?>\r\n' in told
    assert b"<m:Nom>\xc9a</m:Nom>\r\n" in told
    with pytest.raises(Reject, match=r"file.encoding at /NOM"):
        layout.line(NAMES, ONE | {"NOM": "Cœur"})
    respelling = made(tmp_path, encoding="iso-8859-1", lacking="transliterate")
    assert b"<m:Nom>Coeur</m:Nom>" in whole(respelling, ONE | {"NOM": "Cœur"})
    assert ("file.template", "/template", "encoding") == why(
        tmp_path, "<a><b c='œ'>{NOM}</b></a>", encoding="iso-8859-1"
    )


@pytest.mark.parametrize(("encoding", "called"), [("cp1252", "windows-1252"), ("iso-8859-15", "ISO-8859-15"),
                                                  ("utf-8-sig", "UTF-8")])  # fmt: skip
def test_every_encoding_has_the_name_that_readers_know(encoding: Any, called: str, tmp_path: Path) -> None:
    told = whole(made(tmp_path, encoding=encoding), ONE | {"NOM": "œ€"})
    assert f'encoding="{called}"'.encode() in told
    assert "œ€" == etree.fromstring(told)[0][0].text


@given(st.text(max_size=40), st.text(max_size=20))
def test_whatever_a_value_is_it_comes_back_as_the_same_text_or_is_refused(
    tmp_path_factory: Any, a: str, b: str
) -> None:
    layout = made(tmp_path_factory.getbasetemp())
    try:
        line = layout.line(NAMES, {"NOM": a, "SEXE": b, "TEL": None})
    except Reject as fault:
        known = {"file.control", "file.encoding"}
        if fault.code not in known:
            raise
        return
    (mutation, _) = etree.fromstring(layout.whole(NAMES, [line], ABOUT))
    assert (a, b, 1) == (mutation[0].text or "", mutation.get("sexe"), len(mutation))


def test_a_document_of_one_row_needs_no_envelope(tmp_path: Path) -> None:
    (tmp_path / "t.xml").write_text("<Demande><Nom>{NOM}</Nom></Demande>")
    told = {"format": "xml", "template": tmp_path / "t.xml"}
    with pytest.raises(Refused, match=r"file.template-rows at /rows"):
        layout_of(FormatSettings(**told))
    layout = layout_of(FormatSettings(**told, rows=1, line_end="lf"))
    assert b"<Demande><Nom>a</Nom></Demande>\n" in layout.whole(("NOM",), [layout.line(("NOM",), {"NOM": "a"})], ABOUT)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<a>{NOM}", "unreadable"),
        ("<a>{NOM</a>", "brace"),
        ("<a>}</a>", "brace"),
        ("<a>{}</a>", "brace"),
        ("<a>\ue000{NOM}</a>", "letters"),
        ('<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;{NOM}</a>', "doctype"),
        ('<a xmlns:u="urn:unefois:template" u:each="row">{NOM}</a>', "each"),
        ('<a xmlns:u="urn:unefois:template"><b u:each="row"/><b u:each="row"/></a>', "each"),
        ('<a xmlns:u="urn:unefois:template"><b u:other="row"/></a>', "each"),
        ('<a xmlns:u="urn:unefois:template" u:omit="NOM"/>', "each"),
        ('<a xmlns:u="urn:unefois:template">{NOM}<b u:each="row"/></a>', "place"),
        ('<a xmlns:u="urn:unefois:template"><b u:each="row">{$number}</b></a>', "place"),
        (f"<a>{{NOM}}{' ' * (4 * 1024 * 1024)}</a>", "size"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    assert ("file.template", "/template", reason) == why(tmp_path, text)


def test_no_template_is_refused() -> None:
    with pytest.raises(Refused, match=r"file.template at /template \(why=none"):
        layout_of(FormatSettings(format="xml"))


def test_columns_that_are_not_there_or_not_used_are_told(tmp_path: Path) -> None:
    layout = made(tmp_path)
    assert [] == list(layout.wrong(NAMES)) == list(layout.wrong(()))
    told = [(one.code, one.pointer, one.details.get("near")) for one in layout.wrong(("NOM", "SEX", "TEL"))]
    assert [("file.template-column", "/template", "SEX"), ("file.template-unused", "/SEX", None)] == told


class TestAnXsd:
    def test_lets_pass_what_fits(self, tmp_path: Path) -> None:
        assert b"Mutation" in whole(made(tmp_path, xsd=XSD), ONE, ONE | {"TEL": None})

    @pytest.mark.parametrize(
        ("row", "pointer"),
        [(ONE | {"TEL": "Zzyzx"}, "/TEL"), (ONE | {"NOM": "Zzyzxxxxx"}, "/NOM"), ({"NOM": "Zzyzx"}, "/SEXE")],
    )
    def test_refuses_a_row_at_its_column_and_repeats_no_value(
        self, row: dict[str, object], pointer: str, tmp_path: Path
    ) -> None:
        with pytest.raises(Reject) as caught:
            made(tmp_path, xsd=XSD).line(NAMES, row)
        assert ("file.xsd-row", pointer) == (caught.value.code, caught.value.pointer)
        assert "Zzyzx" not in f"{caught.value!r}{caught.value.details}"

    def test_refuses_too_many_rows_and_an_envelope_that_does_not_fit_for_now(self, tmp_path: Path) -> None:
        with pytest.raises(Retry, match=r"file.xsd-whole .*number=3"):
            whole(made(tmp_path, xsd=XSD), *[ONE] * 4)
        with pytest.raises(Retry, match=r"file.xsd-template"):
            made(tmp_path, TOWN.replace('n="{$rows}"', 'n="none {$rows}"'), XSD).line(NAMES, ONE)

    @pytest.mark.parametrize(
        ("xsd", "reason"),
        [
            (XSD.replace("types.xsd", "http://127.0.0.1:9/types.xsd"), "outside"),
            (XSD.replace("types.xsd", "../types.xsd"), "outside"),
            (XSD.replace("types.xsd", "/etc/types.xsd"), "outside"),
            (XSD.replace("types.xsd", "none.xsd"), "unreadable"),
            (XSD.replace("xs:maxOccurs", "x").replace('name="Lot"', 'nome="Lot"'), "unreadable"),
            ("<!DOCTYPE a []>" + XSD, "doctype"),
        ],
    )
    def test_is_refused_where_it_leads_out_of_its_folder_or_is_none(
        self, xsd: str, reason: str, tmp_path: Path
    ) -> None:
        assert ("file.xsd", "/xsd", reason) == why(tmp_path, TOWN, xsd=xsd)
