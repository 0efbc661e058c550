"""Every code that the source raises is in the table, and every sentence of the table can be filled and said.

While a package is being written this test may be red: it lists what is missing, code by code.
"""

import ast
import re
import string
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from schemas.errors import Refused
from schemas.messages import Message, explain, table

ROOT = Path(__file__).parents[3]
PACKAGES = ("schemas", "consent", "broker", "connectors")
ROOTS = {"Fault", "Refused", "Unavailable", "Corrupt"}
OF_ONE_CODE = {"Otherwise"}
"""Whose one code stands in its class, and whose argument is no code."""
TOLD_ALIKE = {"Warning", "Break"}
"""What is not raised but told like a fault (`values`, `evolution`)."""
CODE = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+")
SENTENCES = ("en", "fr", "do_en", "do_fr")


@dataclass(frozen=True)
class Site:
    """One call that makes a fault: where, with which codes, with which details (None: not to be seen from here)."""

    place: str
    codes: tuple[str, ...]
    details: frozenset[str] | None


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8"))


@cache
def parsed() -> dict[str, ast.Module]:
    return dict(modules())


@cache
def nodes(file: str) -> tuple[ast.AST, ...]:
    """Everything in a module, each node once."""
    return tuple(ast.walk(parsed()[file]))


def named(node: ast.expr) -> str:
    """The last part of a dotted name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def fault_classes() -> set[str]:
    """The three faults and every class derived from them, wherever it is."""
    known = set(ROOTS)
    bases = [
        (node.name, {named(base) for base in node.bases})
        for file in parsed()
        for node in nodes(file)
        if isinstance(node, ast.ClassDef)
    ]
    while found := {name for name, parents in bases if parents & known} - known:
        known |= found
    return known


def literals(node: ast.expr) -> tuple[str, ...]:
    """The texts that an expression can be, as far as it says so itself."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return (node.value,)
    if isinstance(node, ast.IfExp):
        return literals(node.body) + literals(node.orelse)
    return ()


def class_codes(file: str) -> dict[str, tuple[str, ...]]:
    """For each class, the values of `code = "..."` in it and in the classes below it in the same file."""
    own: dict[str, list[str]] = defaultdict(list)
    parents: dict[str, set[str]] = {}
    for node in nodes(file):
        if isinstance(node, ast.ClassDef):
            parents[node.name] = {named(base) for base in node.bases}
            for line in node.body:
                if isinstance(line, ast.Assign) and [named(target) for target in line.targets] == ["code"]:
                    own[node.name] += literals(line.value)
    return {
        name: tuple(code for child in parents if name == child or name in parents[child] for code in own[child])
        for name in parents
    }


def sites() -> Iterator[Site]:
    """Every call of a fault's class with its codes."""
    classes = (fault_classes() | TOLD_ALIKE) - OF_ONE_CODE
    for file in parsed():
        codes_of = class_codes(file)
        owners = {
            call: owner.name
            for owner in nodes(file)
            if isinstance(owner, ast.ClassDef)
            for call in ast.walk(owner)
            if isinstance(call, ast.Call)
        }
        for node in nodes(file):
            if not (isinstance(node, ast.Call) and named(node.func) in classes and node.args):
                continue
            first = node.args[0]
            codes = literals(first)
            if isinstance(first, ast.Attribute) and first.attr == "code":
                codes = codes_of.get(owners.get(node, ""), ())
                if not codes:
                    continue  # a fault made from another one: its code was a literal there
            keywords = [each.arg for each in node.keywords]
            told = None if None in keywords else frozenset(each for each in keywords if each is not None)
            alike = named(node.func) in TOLD_ALIKE
            yield Site(f"{file}:{node.lineno}", codes, None if alike else told)


@cache
def all_sites() -> tuple[Site, ...]:
    return tuple(sites())


def test_the_walk_finds_the_faults_of_every_package():
    assert set(PACKAGES) == {site.place.split("/")[0] for site in all_sites()}


def test_every_code_raised_is_in_the_table():
    missing = {code: site.place for site in all_sites() for code in site.codes if code not in table()}
    assert {} == missing


def test_every_code_is_written_where_it_is_raised():
    """A code that comes from a variable cannot be found by somebody who reads the message; tables of codes are few."""
    tables = {"schemas/evolution.py"}
    unwritten = [site.place for site in all_sites() if not site.codes and site.place.split(":")[0] not in tables]
    assert [] == unwritten


def test_every_code_of_the_table_is_raised_somewhere():
    written = {
        node.value
        for file in parsed()
        for node in nodes(file)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert [] == sorted(set(table()) - written)


def test_every_code_has_its_form_and_four_sentences_that_end():
    for code, row in table().items():
        assert CODE.fullmatch(code), code
        assert set(SENTENCES) == set(row), code
        for language in SENTENCES:
            text = row[language]
            assert text == text.strip() != "", (code, language)
            assert text[-1] in ".!?»", (code, language)
            assert "  " not in text, (code, language)


def braces(code: str) -> set[str]:
    """The details that the sentences of a code ask for."""
    texts = [table()[code][language] for language in SENTENCES]
    return {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_what_a_sentence_asks_for_is_told_by_every_fault_with_its_code():
    untold = {
        f"{site.place} {code}": sorted(braces(code) - site.details)
        for site in all_sites()
        for code in site.codes
        if code in table() and site.details is not None and braces(code) - site.details
    }
    assert {} == untold


def test_french_and_english_ask_for_the_same():
    for code, row in table().items():
        asked = [
            {name for _, name, _, _ in string.Formatter().parse(row[language]) if name is not None}
            for language in ("en", "fr")
        ]
        assert asked[0] == asked[1], code


@pytest.mark.parametrize(
    ("language", "message"),
    [
        (
            "en",
            Message(
                "This text has 120 characters where at most 100 are taken.",
                "Shorten it.",
            ),
        ),
        (
            "fr",
            Message(
                "Ce texte a 120 caractères, alors que la limite est de 100.",
                "Raccourcissez-le.",
            ),
        ),
    ],
)
def test_a_fault_is_told_in_both_languages_with_its_details(language, message):
    assert message == explain(Refused("values.too-long", "/a", length=120, limit=100), language)


def test_a_detail_that_is_missing_leaves_a_question_mark_and_no_second_fault():
    assert "This text has … characters where at most … are taken." == explain(Refused("values.too-long"), "en").wrong
