"""What the site makes from the code is complete: every code, type, field, setting, kind and reason is in its table."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from broker.maintenance.retention import KEPT
from broker.settings.choices import Settings
from connectors.functions import LIBRARY
from connectors.registry import GROUP
from consent import purposes
from schemas import catalogue, messages, samples
from schemas.confluent import registry_id
from schemas.facts import KINDS, REASONS, FactKind
from schemas.names import Reason
from tests.docs.pages import DOCS, pages


def _extension() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generated", DOCS / "_ext" / "generated.py")
    if spec is None or spec.loader is None:
        pytest.fail("docs/_ext/generated.py is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATED = _extension()


def test_each_code_has_its_heading_and_its_sentences_in_both_languages() -> None:
    page, missing = GENERATED.errors(), []
    for code, row in messages.table().items():
        _, found, below = page.partition(f"\n### `{code}`\n")
        section = below.partition("\n### ")[0]
        told = {key: sentence.replace("|", "\\|") for key, sentence in row.items()}
        rows = [f"| {language} | {told[language]} | {told[f'do_{language}']} |" for language in ("en", "fr")]
        missing += [] if found and all(row in section for row in rows) else [code]

    assert messages.table()
    assert [] == missing


def test_no_two_codes_have_one_anchor() -> None:
    anchors = [re.sub(r"[^a-z0-9]+", "-", code) for code in messages.table()]

    assert len(set(anchors)) == len(anchors)


@pytest.mark.parametrize("event", catalogue.builtin().newest, ids=lambda event: event.event_type)
def test_an_event_type_is_there_with_its_schema_and_every_field(event: catalogue.EventSchema) -> None:
    section = GENERATED.event_types().partition(f"\n| type | `{event.event_type}` |\n")[2].partition("\n## ")[0]

    assert event.schema.id.hex() in section
    for each in event.fields:
        row = next(line for line in section.splitlines() if f"| `{each.name}` |" in line)
        assert each.label["fr"] in row
        assert each.label["en"] in row
        assert each.sensitivity.value in row
        assert (each.iri or "") in row
    sample = json.loads(section.partition("```json\n")[2].partition("```")[0])
    assert samples.as_json(samples.sample(event.event_type)) == sample
    assert f"id `{registry_id(event.schema.id)}`" in section


def test_the_site_has_the_asyncapi_document(tmp_path: Path) -> None:
    GENERATED.write_asyncapi(tmp_path)

    told = json.loads((tmp_path / "asyncapi.json").read_text("utf-8"))
    assert [f"receive.{event.event_type}" for event in catalogue.builtin().newest] == list(told["operations"])


def test_each_setting_is_there_with_its_variable_and_its_default() -> None:
    lines, missing = GENERATED.settings().splitlines(), []
    for name, field in Settings.model_fields.items():
        row = next((line for line in lines if line.startswith(f"| `{name}` |")), "")
        plain = isinstance(field.default, int) and not isinstance(field.default, bool) and name != "hpke_suite"
        expected = [f"`UNEFOIS_{name.upper()}`", *([f"| `{field.default}` |"] if plain else [])]
        missing += [] if all(word in row for word in expected) else [name]

    assert [] == missing


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("entry-kinds", [kind.value for kind in FactKind]),
        ("reasons", [reason.value.replace("-", "_") for reason in Reason]),
        ("purposes", list(purposes.CATALOGUE)),
        ("functions", list(LIBRARY)),
        ("table-settings", ["url", "table", "mode", "key", "create", "reference"]),
        ("file-settings", ["folder", "name", "encoding", "journal"]),
        ("webhook-settings", ["url", "keys", "timeout_s", "ca_file"]),
        ("exit-codes", []),
        ("retention", list(KEPT)),
    ],
)
def test_a_table_has_a_row_for_each(table: str, words: list[str]) -> None:
    made = GENERATED.TABLES[table]()

    assert [] == [word for word in words if f"| `{word}` |" not in made]
    assert len(made.splitlines()) > 3


def test_every_connector_that_is_announced_has_its_settings_in_a_table() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text("utf-8"))["project"]

    assert [] == [kind for kind in project["entry-points"][GROUP] if f"{kind}-settings" not in GENERATED.TABLES]


def test_kinds_and_reasons_have_the_numbers_of_the_encoding() -> None:
    for table, symbols in (("entry-kinds", KINDS), ("reasons", REASONS)):
        numbered = re.findall(r"^\| (\d+) \| `([a-z_]+)` \|", GENERATED.TABLES[table](), re.M)
        assert [(str(number), symbol) for number, symbol in enumerate(symbols)] == numbered


def test_every_table_stands_in_a_page_and_every_line_names_a_table() -> None:
    named = [name for page in pages() for name in GENERATED.MARKER.findall(page.read_text("utf-8"))]

    assert sorted(GENERATED.TABLES) == sorted(named)


def test_a_line_that_names_no_table_does_not_leave_a_hole() -> None:
    with pytest.raises(KeyError):
        GENERATED.filled("<!-- generated: erorrs -->\n")


def test_what_would_end_a_cell_is_escaped() -> None:
    assert "| a\\|b c |" in GENERATED.rows(("x",), [("a|b\nc",)])
