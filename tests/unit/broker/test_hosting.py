"""Hosting: agencies described by files, whose connectors run beside the broker and get no more than a remote one."""

import json
import sqlite3
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from broker.runtime.hosting import Hosted, agency_of, load, pulls, run_hosted, tell_hosted
from connectors.runner import RunReport
from connectors.table import TableConnector
from schemas.errors import Refused, Unavailable
from schemas.names import PartyId
from tests.announced import announce
from tests.world import CAF, CPAM, DAY, FAMILY, MOVED, RENNES, TOWN, World

MAPPING = """
name: small
version: 1
event_type: fr.unefois.address.changed.v1
direction: out
fields:
  nom: upper(record.subject.family_name)
  ville: record.new_address.city
"""


@pytest.fixture(autouse=True)
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch)


@pytest.fixture
def agencies(tmp_path: Path) -> Path:
    """The folder of the home's agencies, with a mapping of their own beside it."""
    folder = tmp_path / "agencies"
    folder.mkdir()
    (folder / "own").mkdir()
    (folder / "own" / "small.yaml").write_text(MAPPING)
    return folder


def table_of(tmp_path: Path) -> dict[str, Any]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'town.db'}"
    return {"mapping": "own/small.yaml", "connector": "table", "settings": {"url": url, "table": "t", "create": True}}


def write(folder: Path, name: str, **content: Any) -> None:
    (folder / name).write_text(json.dumps(content))


def one(folder: Path) -> Hosted:
    (found,) = load(folder)
    return found


class TestLoading:
    def test_no_folder_is_no_agency(self, tmp_path: Path) -> None:
        assert () == load(tmp_path / "nowhere")

    def test_every_file_is_an_agency_in_the_order_of_the_names(self, agencies: Path, tmp_path: Path) -> None:
        write(agencies, "b.yaml", party=RENNES, routes=[table_of(tmp_path)])
        write(agencies, "a.yaml", party=CAF, notify={"kind": "webhook", "settings": {}})

        found = load(agencies)

        assert [(CAF, "a.yaml", 0), (RENNES, "b.yaml", 1)] == [
            (each.party, each.file, len(each.routes)) for each in found
        ]
        assert "small" == found[1].routes[0].mapping.name

    def test_a_mapping_without_a_slash_is_a_packaged_one(self, agencies: Path, tmp_path: Path) -> None:
        write(agencies, "a.yaml", party=RENNES, routes=[table_of(tmp_path) | {"mapping": "commune-table"}])

        assert "commune-table" == one(agencies).routes[0].mapping.name

    def test_settings_are_in_no_repr_for_they_hold_passwords(self, agencies: Path, tmp_path: Path) -> None:
        notify = {"kind": "webhook", "settings": {"keys": ["whsec_secret"]}}
        write(agencies, "a.yaml", party=RENNES, routes=[table_of(tmp_path)], notify=notify)

        assert "town.db" not in repr(load(agencies))
        assert "whsec_secret" not in repr(load(agencies))

    @pytest.mark.parametrize(
        ("changed", "code", "pointer"),
        [
            ({"party": "urn:somebody"}, "name.party", "/party"),
            ({"party": 7}, "hosting.malformed", "/party"),
            ({"routs": []}, "hosting.malformed", "/routs"),
            ({"routes": []}, "hosting.nothing-to-do", "/routes"),
            ({"routes": [{"mapping": "commune-table"}]}, "hosting.malformed", "/routes/0/connector"),
            ({"notify": {"kind": "table"}}, "connector.not-a-notifier", ""),
            ({"notify": {"kind": "pigeon"}}, "connector.unknown-kind", ""),
        ],
    )
    def test_a_mistake_is_told_with_the_file_and_the_place(
        self, agencies: Path, tmp_path: Path, changed: dict[str, Any], code: str, pointer: str
    ) -> None:
        write(agencies, "a.yaml", **{"party": RENNES, "routes": [table_of(tmp_path)], **changed})

        with pytest.raises(Refused) as refused:
            load(agencies)

        assert (code, pointer, "a.yaml") == (
            refused.value.code,
            refused.value.pointer,
            refused.value.details["file"],
        )

    @pytest.mark.parametrize(
        ("mapping", "code"),
        [
            ("commune-tabel", "mapping.no-such-file"),
            ("own/none.yaml", "mapping.no-such-file"),
            ("publik-address-changed", "hosting.direction"),
            ("own/strange.yaml", "mapping.unknown-field"),
            ("own/broken.yaml", "mapping.malformed"),
        ],
    )
    def test_a_route_needs_an_outbound_mapping_that_fits_its_type(
        self, agencies: Path, tmp_path: Path, mapping: str, code: str
    ) -> None:
        (agencies / "own" / "strange.yaml").write_text(MAPPING.replace("record.subject.", "record.sbject."))
        (agencies / "own" / "broken.yaml").write_text("name: x\n")
        write(agencies, "a.yaml", party=RENNES, routes=[table_of(tmp_path) | {"mapping": mapping}])

        with pytest.raises(Refused) as refused:
            load(agencies)

        assert code == refused.value.code
        assert refused.value.details["file"]

    def test_an_event_type_has_one_route_only(self, agencies: Path, tmp_path: Path) -> None:
        write(agencies, "a.yaml", party=RENNES, routes=[table_of(tmp_path), table_of(tmp_path)])

        with pytest.raises(Refused) as refused:
            load(agencies)

        assert ("hosting.type-twice", "/routes/1/mapping") == (refused.value.code, refused.value.pointer)

    def test_two_files_for_one_mailbox_are_a_mistake_that_names_both(self, agencies: Path, tmp_path: Path) -> None:
        write(agencies, "a.yaml", party=RENNES, routes=[table_of(tmp_path)])
        write(agencies, "b.yaml", party=RENNES, routes=[table_of(tmp_path)])

        with pytest.raises(Refused) as refused:
            load(agencies)

        assert ("hosting.party-twice", "a.yaml", "b.yaml") == (
            refused.value.code,
            refused.value.details["other"],
            refused.value.details["file"],
        )

    def test_a_file_that_is_no_yaml_is_told_with_its_name(self, agencies: Path) -> None:
        (agencies / "a.yaml").write_text("party: [")

        with pytest.raises(Refused) as refused:
            load(agencies)

        assert ("yaml.malformed", "a.yaml") == (refused.value.code, refused.value.details["file"])

    def test_a_file_that_cannot_be_read_is_told_with_its_name(self, agencies: Path) -> None:
        (agencies / "a.yaml").mkdir()

        with pytest.raises(Refused) as refused:
            load(agencies)

        assert ("hosting.cannot-read", "a.yaml") == (refused.value.code, refused.value.details["file"])


def rows(tmp_path: Path) -> list[tuple[str, ...]]:
    database = sqlite3.connect(tmp_path / "town.db")
    try:
        return database.execute("SELECT nom, ville FROM t").fetchall()
    finally:
        database.close()


@pytest.mark.asyncio
class TestRunning:
    async def test_a_delivery_arrives_in_the_agencys_own_table_and_is_acknowledged(
        self, here: World, agencies: Path, tmp_path: Path
    ) -> None:
        write(agencies, "a.yaml", party=RENNES, routes=[table_of(tmp_path)])
        await here.give(RENNES, MOVED, TOWN, ["subject", "new_address"])
        await here.declare(MOVED, here.moved())

        report = await run_hosted(here.home, one(agencies))

        assert (1, 1) == (report.pulled, len(report.applied))
        assert [("MARTIN", "Rennes")] == rows(tmp_path)
        assert RunReport() == await run_hosted(here.home, one(agencies))

    async def test_the_connectors_stay_open_from_one_delivery_to_the_next(
        self, here: World, agencies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(agencies, "a.yaml", party=RENNES, routes=[table_of(tmp_path)])
        await here.give(RENNES, MOVED, TOWN, ["subject", "new_address"])
        for _ in range(2):  # of one citizen: the second is handed out once the first is acknowledged
            await here.declare(MOVED, here.moved())
        seen, ordinary, close = [], TableConnector.open, TableConnector.close

        async def opening(*told: Any) -> Any:
            seen.append("open")
            return await ordinary(*told)

        async def closing(connector: TableConnector) -> None:
            seen.append("close")
            await close(connector)

        monkeypatch.setattr(TableConnector, "open", opening)
        monkeypatch.setattr(TableConnector, "close", closing)

        found = [len(report.applied) async for report in pulls(here.home, one(agencies))]

        assert ([1, 1, 0], ["open", "close"]) == (found, seen)

    async def test_a_system_that_rests_is_neither_opened_nor_pulled_for_until_it_has_rested(
        self, here: World, agencies: Path, tmp_path: Path
    ) -> None:
        route = table_of(tmp_path)
        route["settings"]["url"] = f"sqlite+aiosqlite:///{tmp_path / 'none' / 'town.db'}"
        write(agencies, "a.yaml", party=RENNES, routes=[route | {"limits": {"rest_after": 2, "rest_s": 600}}])
        await here.give(RENNES, MOVED, TOWN, ["subject", "new_address"])
        await here.declare(MOVED, here.moved())
        hosted = one(agencies)

        for _ in range(2):
            with pytest.raises(Unavailable, match=r"table.away"):
                await run_hosted(here.home, hosted)
        (tmp_path / "none").mkdir()

        assert RunReport() == await run_hosted(here.home, hosted)
        here.clock.pass_(600_000)
        assert 1 == len((await run_hosted(here.home, hosted)).applied)

    async def test_a_wrong_limit_is_told_with_file_and_pointer(self, agencies: Path, tmp_path: Path) -> None:
        write(agencies, "a.yaml", party=RENNES, routes=[table_of(tmp_path) | {"limits": {"windows": [{"end": "6"}]}}])

        with pytest.raises(Refused, match=r"connector.settings at /routes/0/limits/windows/0/"):
            load(agencies)

    async def test_nothing_is_opened_while_nothing_waits(self, here: World, agencies: Path, tmp_path: Path) -> None:
        write(agencies, "a.yaml", party=RENNES, routes=[table_of(tmp_path)])

        assert RunReport() == await run_hosted(here.home, one(agencies))
        assert not (tmp_path / "town.db").exists()

    async def test_a_field_that_is_not_granted_is_rejected_and_not_written_as_empty(
        self, here: World, agencies: Path, tmp_path: Path
    ) -> None:
        write(agencies, "a.yaml", party=RENNES, routes=[table_of(tmp_path)])
        await here.give(RENNES, MOVED, TOWN, ["subject"])
        await here.declare(MOVED, here.moved())

        report = await run_hosted(here.home, one(agencies))

        assert ["mapping.withheld"] == [outcome.code for _, outcome in report.rejected]
        assert [] == rows(tmp_path)

    async def test_a_connectors_wrong_setting_is_told_with_file_and_pointer_and_nothing_is_lost(
        self, here: World, agencies: Path, tmp_path: Path
    ) -> None:
        route = table_of(tmp_path)
        write(agencies, "a.yaml", party=RENNES, routes=[route | {"settings": {**route["settings"], "tabel": "t"}}])
        await here.give(RENNES, MOVED, TOWN, ["subject", "new_address"])
        await here.declare(MOVED, here.moved())

        with pytest.raises(Refused) as refused:
            await run_hosted(here.home, one(agencies))

        assert ("connector.settings", "/routes/0/settings/tabel", "a.yaml") == (
            refused.value.code,
            refused.value.pointer,
            refused.value.details["file"],
        )
        assert 1 == len(await here.inbox(RENNES).ready(10))

    async def test_connectors_are_closed_when_a_later_one_cannot_be_opened(
        self, here: World, agencies: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "csv").mkdir()
        bank = MAPPING.replace("address.changed", "bank-account.changed").replace("new_address.city", "holder")
        (agencies / "own" / "bank.yaml").write_text(bank.replace("name: small", "name: bank"))
        routes = [
            {"mapping": "own/small.yaml", "connector": "file", "settings": {"folder": str(tmp_path / "csv")}},
            {"mapping": "own/bank.yaml", "connector": "file", "settings": {"folder": str(tmp_path / "none")}},
        ]
        write(agencies, "a.yaml", party=CAF, routes=routes)
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
        await here.declare(MOVED, here.moved())

        for _ in range(2):  # the second time the first folder's lock would still be held
            with pytest.raises(Refused, match=r"file\.folder"):
                await run_hosted(here.home, one(agencies))

    async def test_an_agency_whose_keys_are_elsewhere_cannot_be_hosted(self, here: World) -> None:
        with pytest.raises(Refused) as refused:
            await agency_of(here.home, PartyId("urn:unefois:stranger"))

        assert "hosting.no-key" == refused.value.code

    async def test_an_agency_opens_with_its_old_keys_too(self, here: World) -> None:
        before = await agency_of(here.home, CPAM)
        await here.home.parties.rotate(CPAM, DAY)

        after = await agency_of(here.home, CPAM)

        assert before.sealing_keys.keys() < after.sealing_keys.keys()


class Doorbell(BaseHTTPRequestHandler):
    """Hears, and answers as it was told."""

    heard: ClassVar[list[dict[str, Any]]] = []
    answer: ClassVar[int] = 204

    def do_POST(self) -> None:
        self.heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.answer)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def doorbell() -> Iterator[str]:
    Doorbell.heard.clear()
    Doorbell.answer = 204
    server = HTTPServer(("127.0.0.1", 0), Doorbell)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/ready"
    server.shutdown()
    thread.join()
    server.server_close()


def notified(folder: Path, url: str) -> None:
    settings = {"url": url, "keys": ["whsec_" + "QUJD" * 8]}
    write(folder, "caf.yaml", party=CAF, notify={"kind": "webhook", "settings": settings})


@pytest.mark.asyncio
class TestTelling:
    async def test_nobody_is_told_where_nobody_asked(self, here: World, agencies: Path, tmp_path: Path) -> None:
        write(agencies, "a.yaml", party=RENNES, routes=[table_of(tmp_path)])

        assert None is await tell_hosted(here.home, one(agencies))

    async def test_an_agency_hears_once_that_a_delivery_waits_and_no_value_with_it(
        self, here: World, agencies: Path, doorbell: str
    ) -> None:
        notified(agencies, doorbell)
        await here.give(CAF, MOVED, FAMILY, ["subject"])
        await here.declare(MOVED, here.moved())

        first = await tell_hosted(here.home, one(agencies))
        again = await tell_hosted(here.home, one(agencies))

        assert first is not None
        assert again is not None
        assert (1, 0) == (len(first.told), len(again.told))
        assert [("delivery.ready", {"delivery_id", "event_type"})] == [
            (each["type"], set(each["data"])) for each in Doorbell.heard
        ]

    async def test_an_agency_without_routes_is_told_and_not_pulled(
        self, here: World, agencies: Path, doorbell: str
    ) -> None:
        notified(agencies, doorbell)
        await here.give(CAF, MOVED, FAMILY, ["subject"])
        await here.declare(MOVED, here.moved())

        assert RunReport() == await run_hosted(here.home, one(agencies))
        assert 1 == len(await here.inbox(CAF).ready(10))

    async def test_who_did_not_hear_is_told_again_later(self, here: World, agencies: Path, doorbell: str) -> None:
        notified(agencies, doorbell)
        Doorbell.answer = 503
        await here.give(CAF, MOVED, FAMILY, ["subject"])
        await here.declare(MOVED, here.moved())

        missed = await tell_hosted(here.home, one(agencies))
        Doorbell.answer = 204
        here.clock.pass_(DAY)
        heard = await tell_hosted(here.home, one(agencies))

        assert missed is not None
        assert heard is not None
        assert ["webhook.answer"] == [code for _, code in missed.unheard]
        assert 1 == len(heard.told)

    async def test_an_agency_that_is_hosted_in_two_places_is_told_from_one(
        self, here: World, agencies: Path, doorbell: str, tmp_path: Path
    ) -> None:
        notified(agencies, doorbell)
        (tmp_path / "elsewhere").mkdir()
        notified(tmp_path / "elsewhere", doorbell)
        await here.give(CAF, MOVED, FAMILY, ["subject"])
        await here.declare(MOVED, here.moved())

        first = await tell_hosted(here.home, one(agencies))
        other = await tell_hosted(here.home, one(tmp_path / "elsewhere"))

        assert first is not None
        assert (1, None, 1) == (len(first.told), other, len(Doorbell.heard))

    async def test_two_processes_do_not_tell_at_once(self, here: World, agencies: Path, doorbell: str) -> None:
        from connectors.journal import Journal

        notified(agencies, doorbell)
        await here.give(CAF, MOVED, FAMILY, ["subject"])
        await here.declare(MOVED, here.moved())
        hosted = one(agencies)
        assert hosted.notify is not None
        other = Journal.open(hosted.notify.journal)
        try:
            with pytest.raises(Unavailable, match=r"journal\.in-use"):
                await tell_hosted(here.home, hosted)
        finally:
            other.close()
