"""YAML as we read it."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.strict_yaml import MAX_BYTES, read
from schemas.errors import Refused


@pytest.mark.parametrize(
    ("scalar", "expected"),
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("01000", "01000"),
        ("2A004", "2A004"),
        ("12:30", "12:30"),
        ("2026-11-02", "2026-11-02"),
        ("1_000", "1_000"),
        ("0x1f", "0x1f"),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("44109", 44109),
        ("-5", -5),
        ("1.50", 1.5),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ('"44109"', "44109"),
    ],
)
def test_a_scalar_means_what_it_looks_like_and_nothing_more(scalar: str, expected: object) -> None:
    assert repr({"a": expected}) == repr(read(f"a: {scalar}\n".encode()))


def test_a_merge_key_is_a_plain_name() -> None:
    assert {"<<": {"a": 1}, "b": 2} == read(b"<<: {a: 1}\nb: 2\n")


def test_an_alias_stands_for_its_anchor() -> None:
    assert {"a": [1], "b": [1]} == read(b"a: &x [1]\nb: *x\n")


def test_an_empty_document_and_a_byte_order_mark_are_fine() -> None:
    assert (None, {"a": 1}) == (read(b""), read(b"\xef\xbb\xbfa: 1"))


LAUGHS = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (b, b, *[a] * 10) for a, b in pairwise(b"abcde")
)


@pytest.mark.parametrize(
    ("code", "document", "line"),
    [
        ("yaml.key-twice", b"a: 1\nb: 2\na: 3\n", 3),
        ("yaml.key-twice", b'"1": a\n1: b\n', 2),
        ("yaml.key", b"? [a]\n: 1\n", 1),
        ("yaml.tag", b"a: !!binary aGk=\n", 1),
        ("yaml.tag", b"b: 1\na: !!python/object/apply:os.getcwd []\n", 2),
        ("yaml.tag", b"a: !secret x\n", 1),
        ("yaml.cycle", b"a: &x [*x]\n", 1),
        ("yaml.too-many-nodes", LAUGHS, 5),
        ("yaml.too-deep", b"a: " + b"[" * 45 + b"]" * 45, 1),
        ("yaml.malformed", b"a: 1\n  b: [\n", 2),
        ("yaml.malformed", b"---\na: 1\n---\nb: 2\n", 3),
        ("yaml.malformed", b"a: *nowhere\n", 1),
        ("yaml.malformed", b"\xff\xfe\x00", 1),
        ("yaml.malformed", b"a: 1\nb: \xff\n", 2),
        ("yaml.malformed", b"a: \x00\n", 1),
        ("yaml.malformed", b"a: 1\nb: \x00\n", 2),
        ("yaml.malformed", b"a: !!int x\n", 0),
        ("yaml.too-deep", b"[" * 2_000, 1),
        ("yaml.too-deep", b"a: 1\nb: " + b"[" * 2_000, 2),
    ],
)
def test_what_is_not_plain_is_refused_with_its_line(code: str, document: bytes, line: int) -> None:
    with pytest.raises(Refused) as caught:
        read(document)
    assert (code, line) == (caught.value.code, caught.value.details["line"])


def test_a_document_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(Refused) as caught:
        read(b"[" * (MAX_BYTES + 1))
    assert "yaml.too-large" == caught.value.code


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text("aé'\"#: 0-{[&*!", max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé", max_size=4), inner, max_size=4),
        max_leaves=12,
    )
)
def test_json_reads_as_json(value: object) -> None:
    assert value == read(json.dumps(value).encode())
