"""Generated: the parts of the pages that the code itself tells: error codes, event types, settings, ledger entries.

A page holds a line `<!-- generated: errors -->`; when the site is built the table made from the code takes its place.
Refuses: a name that is not in TABLES, so that a misspelled line does not leave a hole in the page.
Keeps: nothing generated is committed, so no table can be older than the code (docs/adr/0013). `tests/docs` makes every
table and looks whether all codes, types and settings are in it.
"""

import ast
import inspect
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from broker.cli.exits import MEANINGS
from broker.maintenance.retention import KEPT
from broker.settings.choices import Settings
from broker.settings.sources import PREFIX, SECRETS
from connectors.description import Case, described
from connectors.file.settings import FileSettings, SftpSettings
from connectors.functions import LIBRARY
from connectors.guarding import Limits
from connectors.kit import cases
from connectors.kit.rest_rig import RestRig
from connectors.kit.rig import Rig
from connectors.kit.rigs import FileRig, TableRig, WebhookRig
from connectors.kit.sftp_rig import SftpRig
from connectors.publik.connector import PublikSettings
from connectors.rest.settings import RestSettings, Rule
from connectors.table_shape import TableSettings
from connectors.webhook import WebhookSettings
from consent import purposes
from consent.explain import explain_reason
from consent.purposes import LegalFamily
from schemas import asyncapi, catalogue, messages, samples
from schemas.confluent import registry_id
from schemas.entry import EntryKind, kind_of
from schemas.facts import KINDS, REASONS, REQUIRED, FactKind, Facts
from schemas.names import (
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    Kid,
    ManifestDigest,
    PartyId,
    Purpose,
    Reason,
)
from schemas.receipt import meaning

MARKER: Final = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)
"""The line of a page that a table replaces."""


def rows(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A Markdown table; what would end a cell is escaped."""
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    return head + "".join(f"| {' | '.join(_cell(each) for each in line)} |\n" for line in lines)


def _cell(told: object) -> str:
    return str(told).replace("|", "\\|").replace("\n", " ")


def errors() -> str:
    """Every code that a fault can carry, by family, each under a heading of its own: `errors.html#name-party`."""
    table = messages.table()
    families: dict[str, list[str]] = {}
    for code in sorted(table):
        families.setdefault(code.partition(".")[0], []).append(code)
    return "\n".join(f"## {family}\n\n" + "\n".join(map(_error, codes)) for family, codes in families.items())


def _error(code: str) -> str:
    told = messages.table()[code]
    lines = [(language, told[language], told[f"do_{language}"]) for language in ("en", "fr")]
    return f"### `{code}`\n\n" + rows(("language", "what is wrong", "what to do"), lines)


def event_types() -> str:
    """Every event type with its fields."""
    return "\n".join(map(_event_type, catalogue.builtin().newest))


def _event_type(event: catalogue.EventSchema) -> str:
    places = "yes: communes or countries travel in clear" if event.uses_territories else "no"
    facts = rows(
        ("property", "value"),
        [
            ("type", f"`{event.event_type}`"),
            ("label", f"{event.label['en']} · *{event.label['fr']}*"),
            ("schema", f"`{event.schema.id.hex()}`"),
            ("registry", f"subject `{event.schema.name}`, id `{registry_id(event.schema.id)}`"),
            ("uses territories", places),
        ],
    )
    lines = [
        (
            each.index,
            f"`{each.name}`",
            f"{each.label['en']} · *{each.label['fr']}*",
            each.sensitivity.value,
            "yes" if each.nullable else "",
            each.doc if each.iri is None else f"{each.doc} [same as]({each.iri})",
        )
        for each in event.fields
    ]
    table = rows(("no", "field", "label en · fr", "sensitivity", "may be null", "meaning"), lines)
    sample = json.dumps(samples.as_json(samples.sample(event.event_type)), ensure_ascii=False, indent=2)
    shown = f"A sample, of people who do not exist; what is null is left out:\n\n```json\n{sample}\n```\n"
    return f"## {event.label['en']}\n\n{event.doc}\n\n{facts}\n{table}\n{shown}"


def settings() -> str:
    """Every setting of the broker."""
    docs = _docs(Settings)
    lines = []
    for name, field in Settings.model_fields.items():
        variable = f"`{PREFIX}{name.upper()}`" + (", or `..._FILE`" if name in SECRETS else "")
        lines.append((f"`{name}`", _default(name, field), _bounds(field), variable, docs.get(name, "")))
    return rows(("setting", "default", "from–to", "environment", "meaning"), lines)


def retention() -> str:
    """Every table, what makes it grow, how long a row stays, and who takes it away."""
    lines = [(f"`{name}`", kept.grows, kept.stays, kept.removes) for name, kept in KEPT.items()]
    return rows(("table", "a row for each", "stays", "taken away by"), lines)


def _default(name: str, field: FieldInfo) -> str:
    """What counts where nobody says anything; for the paths, where they are by default."""
    derived = {"home": "`~/.local/share/unefois`", "database_url": "SQLite, `<home>/unefois.db`"}
    derived |= {"keys_folder": "`<home>/keys`"}
    if name in derived:
        return derived[name]
    if field.default in (None, PydanticUndefined, "", ()):
        return "—"
    told = field.default.name.lower() if isinstance(field.default, Enum) else field.default
    return f"`{told}`"


def _bounds(field: FieldInfo) -> str:
    """The least and the most that a number may be."""
    found = {word: getattr(each, word) for each in field.metadata for word in ("ge", "gt", "le") if hasattr(each, word)}
    least = str(found.get("ge", found.get("gt", "")))
    return f"{least}–{found['le']}" if "le" in found else least


def _docs(model: type[BaseModel]) -> dict[str, str]:
    """The text below each attribute of a model's class, and of those that it is made from."""
    above = model.__mro__[1]
    found = _docs(above) if issubclass(above, BaseModel) and above is not BaseModel else {}
    (node,) = ast.parse(inspect.getsource(model)).body
    if not isinstance(node, ast.ClassDef):
        raise TypeError("not a class")
    for before, after in zip(node.body, node.body[1:], strict=False):
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(text, str):
            found[before.target.id] = " ".join(text.split())
    return found


def _connector(model: type[BaseModel]) -> str:
    docs = _docs(model)
    lines = [
        (f"`{name}`", "needed" if field.is_required() else _connector_default(field), docs.get(name, ""))
        for name, field in model.model_fields.items()
    ]
    return rows(("setting", "default", "meaning"), lines)


def _connector_default(field: FieldInfo) -> str:
    default: Any = field.get_default(call_default_factory=True)
    if default is None or default in ({}, ()):
        return "—"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _guaranteed(made: type[Rig]) -> str:
    """What a connector says of itself: its guarantee, what the other side must do, and each case of the kit.

    In English: its French, of the same place in the code, is in the page's catalogue.
    """
    about, kept = described(made.connector), cases.spared(made)
    if about is None:
        raise ValueError(made.__name__)
    head = rows(
        ("what", "it says"),
        [
            ("The guarantee", about.guarantee["en"]),
            *([] if about.weaker is None else [("By your settings", about.weaker.words["en"])]),
            ("What the other side must do", about.other_side["en"]),
            ("Calls at once", f"`{about.at_once}`"),
        ],
    )
    played = " ".join(f"`{case}`" for case in Case if case not in kept)
    spared = rows(("case", "why it cannot happen here"), [(f"`{case}`", said["en"]) for case, said in kept.items()])
    return f"{head}\nOf the kit it passes: {played}\n\n{spared}"


def entry_kinds() -> str:
    """Every kind of fact with the kind of its entry and what it must name, in the order of the encoding."""
    lines = []
    for number, symbol in enumerate(KINDS):
        kind = FactKind(symbol)
        named = ", ".join(f"`{name}`" for name in REQUIRED.get(kind, ()))
        lines.append((number, f"`{symbol}`", _said(kind), f"`{_shown(kind)}`", named))
    return rows(("no", "kind", "what it says", "its entry", "must name"), lines)


def _shown(kind: FactKind) -> str:
    """The kind of entry, both where there are two: a delivery that was never planned has none to close."""
    shown = kind_of(_whole(kind)).value
    return f"{shown}`, or `{EntryKind.FACT.value}" if kind is FactKind.WITHHELD else shown


def _said(kind: FactKind) -> str:
    """The words of a receipt for a kind."""
    return dict(meaning(_whole(kind), "en"))["fact"].partition(": ")[2]


def _whole(kind: FactKind) -> Facts:
    """Facts of a kind that name everything."""
    return Facts(
        at=Instant(0),
        kind=kind,
        actor=PartyId("urn:unefois:broker"),
        recipient=PartyId("urn:unefois:agency"),
        event_type=EventType("fr.unefois.any.v1"),
        purpose=Purpose("any-purpose"),
        declaration=ManifestDigest(bytes(32)),
        delivery=DeliveryId(bytes(16)),
        grant=GrantId(bytes(16)),
        grant_version=1,
        fields=b"\x80",
        reason=Reason.REVOKED,
        basis="consent",
        sealed_to=Kid(bytes(32)),
        count=1,
        subject=bytes(32),
        detail=bytes(32),
    )


def reasons() -> str:
    """Every reason as it stands in facts, with its sentence to a citizen, in the order of the encoding."""
    lines = []
    for number, symbol in enumerate(REASONS):
        reason = Reason(symbol.replace("_", "-"))
        lines.append((number, f"`{symbol}`", explain_reason(reason, "en"), explain_reason(reason, "fr")))
    return rows(("no", "symbol", "en", "fr"), lines)


def purposes_listed() -> str:
    """The closed catalogue of purposes."""
    lines = [
        (
            f"`{one.id}`",
            f"{one.label['en']}. {one.sentence['en']}",
            f"{one.label['fr']}. {one.sentence['fr']}",
            ", ".join(family.value for family in LegalFamily if family in one.families),
        )
        for one in purposes.CATALOGUE.values()
    ]
    return rows(("purpose", "en", "fr", "may rest on"), lines)


def exit_codes() -> str:
    """What a command line's exit code says."""
    return rows(("code", "meaning"), [(code.value, meaning) for code, meaning in MEANINGS.items()])


def functions() -> str:
    """Every function that a mapping may call."""
    return rows(("function", "what it gives"), [(f"`{name}`", each.says) for name, each in LIBRARY.items()])


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "connector-file": lambda: _guaranteed(FileRig),
    "connector-rest": lambda: _guaranteed(RestRig),
    "connector-sftp": lambda: _guaranteed(SftpRig),
    "connector-table": lambda: _guaranteed(TableRig),
    "connector-webhook": lambda: _guaranteed(WebhookRig),
    "entry-kinds": entry_kinds,
    "errors": errors,
    "event-types": event_types,
    "exit-codes": exit_codes,
    "file-settings": lambda: _connector(FileSettings),
    "functions": functions,
    "limits-settings": lambda: _connector(Limits),
    "purposes": purposes_listed,
    "reasons": reasons,
    "rest-answers": lambda: _connector(Rule),
    "rest-settings": lambda: _connector(RestSettings),
    "retention": retention,
    "settings": settings,
    "publik-settings": lambda: _connector(PublikSettings),
    "sftp-settings": lambda: _connector(SftpSettings),
    "table-settings": lambda: _connector(TableSettings),
    "webhook-settings": lambda: _connector(WebhookSettings),
}
"""The tables by the name that a page gives."""


def filled(text: str) -> str:
    """A page's text with its tables in it. Raises KeyError for a name that is none."""
    return MARKER.sub(lambda found: TABLES[found[1]](), text)


def _on_source_read(app: Any, docname: str, source: list[str]) -> None:
    source[0] = filled(source[0])


def write_asyncapi(folder: Path) -> None:
    """The event types as an AsyncAPI document, beside the site's pages: `asyncapi.json`."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    told = json.dumps(asyncapi.document(catalogue.builtin(), project["version"]), ensure_ascii=False, indent=1)
    (folder / "asyncapi.json").write_text(f"{told}\n", "utf-8")


def _on_build_finished(app: Any, exception: Exception | None) -> None:
    if exception is None:
        write_asyncapi(Path(app.outdir))


def setup(app: Any) -> dict[str, bool]:
    """Sphinx asks for this by its name."""
    app.connect("source-read", _on_source_read)
    app.connect("build-finished", _on_build_finished)
    return {"parallel_read_safe": True}
