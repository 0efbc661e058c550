"""What a connector says of itself, and what it finds wrong without changing anything."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors import registry
from connectors.contract import Ground, Settings, checked
from connectors.description import Case, Checking, Description, check, described
from connectors.file.connector import FileConnector
from connectors.secret_files import Secret
from connectors.table import TableConnector
from connectors.webhook import WebhookConnector
from schemas.errors import Refused
from schemas.messages import explain
from schemas.names import Instant
from tests.announced import announce

NOW = Instant(1_793_610_000_000)
KEY = "whsk_" + "A" * 43 + "="


def looked(made: type[object], settings: dict[str, Any], *targets: str) -> list[tuple[str, str]]:
    found = asyncio.run(check(made, settings, targets, Ground(lambda: NOW, bytes)))
    assert all(explain(each, language).remedy for each in found for language in ("fr", "en"))
    return [(each.code, each.pointer) for each in found]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(each): each.read_bytes() if each.is_file() else b"" for each in folder.rglob("*")}


@pytest.fixture
def same(tmp_path: Path) -> Iterator[None]:
    """Nothing in the folder changes from here to the end of the test."""
    before = everything(tmp_path)
    yield
    assert before == everything(tmp_path)


@pytest.fixture
def town(tmp_path: Path) -> str:
    with sqlite3.connect(tmp_path / "town.db") as database:
        database.execute("CREATE TABLE moves (id TEXT PRIMARY KEY, name TEXT NOT NULL, sector TEXT NOT NULL)")
        database.execute("CREATE TABLE unefois_inbox (delivery_id TEXT PRIMARY KEY)")
    database.close()
    return f"sqlite+aiosqlite:///{tmp_path}/town.db"


def test_every_kind_says_everything_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch)
    for kind in registry.kinds():
        made = registry.kinds()[kind].load()
        about = described(made)
        assert about is not None, kind
        assert issubclass(made, Checking)
        for words in (about.guarantee, about.other_side, *about.spared.values()):
            assert {"fr", "en"} == set(words)
            assert all(each.endswith(".") for each in words.values())


def test_the_schema_of_its_settings_says_of_each_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch)
    for kind in registry.kinds():
        about = described(registry.kinds()[kind].load())
        assert about is not None
        schema = about.schema
        assert False is schema["additionalProperties"]
        assert set(about.settings.model_fields) == set(schema["properties"])
        json.dumps(schema)
    assert "Where the files go" in FileConnector.about.schema["properties"]["folder"]["description"]


def test_a_connector_that_says_nothing_is_looked_at_no_closer() -> None:
    assert (None, []) == (described(object), looked(object, {"folder": "/nowhere"}))


def test_of_one_that_cannot_be_tried_the_settings_are_looked_at() -> None:
    class Told(Settings):
        folder: str

    class Quiet:
        about = Description(settings=Told, guarantee={}, other_side={})

    assert [("connector.settings", "/folder")] == looked(Quiet, {})
    assert [] == looked(Quiet, {"folder": "x"})


@pytest.mark.usefixtures("same")
class TestNothingIsChanged:
    def test_a_folder_that_can_be_written(self, tmp_path: Path) -> None:
        assert [] == looked(FileConnector, {"folder": str(tmp_path)}, "name")

    def test_a_folder_and_a_journal_that_are_not_there(self, tmp_path: Path) -> None:
        settings = {"folder": str(tmp_path / "none"), "journal": str(tmp_path / "nor/journal")}
        assert [("file.folder", "/folder"), ("file.folder", "/journal")] == looked(FileConnector, settings)

    def test_a_header_that_its_encoding_lacks(self, tmp_path: Path) -> None:
        settings = {"folder": str(tmp_path), "encoding": "iso-8859-1"}
        assert [("file.encoding", "/cœur")] == looked(FileConnector, settings, "cœur")

    def test_a_database_that_is_made_at_the_first_opening(self, tmp_path: Path) -> None:
        settings = {"url": f"sqlite+aiosqlite:///{tmp_path}/new.db", "table": "moves"}
        assert [] == looked(TableConnector, settings | {"create": True}, "name")
        assert [("table.away", "")] == looked(TableConnector, settings, "name")

    def test_a_database_in_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        settings = {"url": f"sqlite+aiosqlite:///{tmp_path}/none/new.db", "table": "moves", "create": True}
        assert [("table.away", "")] == looked(TableConnector, settings, "name")


def test_everything_that_is_wrong_with_a_table_is_told_at_once(town: str) -> None:
    settings = {"url": town, "table": "moves", "mode": "upsert", "key": ["id"], "reference": "number"}
    assert [
        ("table.unknown-column", "/fields/nam"),
        ("table.key-unmapped", "/key/0"),
        ("table.unknown-column", "/reference"),
        ("table.required-column", "/fields"),
        ("table.required-column", "/fields"),
    ] == looked(TableConnector, settings, "nam")
    assert [("table.missing", "/table")] == looked(TableConnector, {"url": town, "table": "move"}, "name")
    assert [] == looked(TableConnector, {"url": town, "table": "moves"}, "id", "name", "sector")
    assert [] == looked(TableConnector, {"url": town, "table": "moves"})


def test_a_table_without_the_inbox_is_told(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "town.db").execute("CREATE TABLE moves (name TEXT)").connection.close()
    settings = {"url": f"sqlite+aiosqlite:///{tmp_path}/town.db", "table": "moves"}
    assert [("table.no-inbox", "/create")] == looked(TableConnector, settings, "name")


@pytest.mark.asyncio
async def test_an_endpoint_is_connected_to_and_nothing_is_sent() -> None:
    heard = asyncio.Event()
    got = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())
        writer.close()
        heard.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    ground = Ground(lambda: NOW, bytes)
    settings = {"url": f"http://127.0.0.1:{port}/hear", "keys": [KEY]}
    async with server:
        assert () == await WebhookConnector.check(settings, (), ground)
        await heard.wait()
    assert [b""] == got
    (away,) = await WebhookConnector.check(settings, (), ground)
    assert "webhook.unreachable" == away.code


def test_a_webhooks_keys_are_looked_at_first() -> None:
    assert [("webhook.key", "/keys/0")] == looked(WebhookConnector, {"url": "https://x.example", "keys": ["whsk_x"]})


class Told(Settings):
    password: Secret


class TestASecret:
    def test_is_a_text_or_stands_in_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "s").write_text("open sesame\n")
        for given in ("open sesame", {"file": str(tmp_path / "s")}):
            assert "open sesame" == checked(Told, {"password": given}).password.get_secret_value()

    @pytest.mark.parametrize("raw", [b"", b"\n", b"\xff\xfe", b"x" * 65_537, None])
    def test_whose_file_is_none_is_refused_at_its_place(self, raw: bytes | None, tmp_path: Path) -> None:
        if raw is not None:
            (tmp_path / "s").write_bytes(raw)
        with pytest.raises(Refused, match=r"connector.settings at /password \(wrong=secret_file"):
            checked(Told, {"password": {"file": str(tmp_path / "s")}})

    def test_is_in_no_repr_and_its_form_hides_it(self) -> None:
        told = checked(Told, {"password": "open sesame"})
        assert "sesame" not in f"{told!r}{told.model_dump_json()}"
        text, file = Told.model_json_schema()["properties"]["password"]["oneOf"]
        assert ("password", ["file"]) == (text["format"], file["required"])


def test_the_cases_have_words_that_stay() -> None:
    assert "answer-lost" in {case.value for case in Case}
