"""The sidecar's file: every mistake has its place, nothing listens to others, secrets are private, keys are pinned."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from connectors import key_files, source_serve
from connectors.client import Client
from connectors.pinning import Pin
from connectors.program import main
from connectors.testing import TestBroker
from schemas.catalogue import builtin
from schemas.errors import Refused
from schemas.names import PartyId
from tests.program import Program

PORTAL = PartyId("urn:unefois:portal")


def source(folder: Path, **over: Any) -> Path:
    """A folder with everything that a sidecar needs."""
    told = {
        "broker": "http://127.0.0.1:1",
        "party": PORTAL,
        "signing_keys": ["signing.key"],
        "token_file": "api.token",
    } | over
    path = folder / "source.yaml"
    path.write_text(json.dumps({name: value for name, value in told.items() if value is not None}))
    if not (folder / "signing.key").exists():
        key_files.write(folder / "signing.key", key_files.new("ed25519"))
        (folder / "api.token").write_text("unefois_0000000000000000_x\n")
        (folder / "api.token").chmod(0o600)
    return path


@pytest.mark.parametrize("listen", ["127.0.0.1:8471", "[::1]:8471", "127.0.0.2:1"])
def test_this_machine_may_be_listened_to(listen: str, tmp_path: Path) -> None:
    assert listen == source_serve.read(source(tmp_path, listen=listen)).listen


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:8471", "[::]:8471", "192.0.2.1:8471", "localhost:8471", ":8471", "127.0.0.1:0", "127.0.0.1:x", "x"],
)
def test_nobody_else_may(listen: str, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        source_serve.read(source(tmp_path, listen=listen))

    assert ("source.listen", "/listen") == (refused.value.code, refused.value.pointer)


@pytest.mark.parametrize(
    ("over", "pointer"),
    [
        ({"party": None}, "/party"),
        ({"signing_keys": []}, "/signing_keys"),
        ({"more": 1}, "/more"),
        ({"lifetime_days": 0}, "/lifetime_days"),
    ],
)
def test_a_mistake_in_the_file_has_its_place(over: dict[str, Any], pointer: str, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        source_serve.read(source(tmp_path, **over))

    assert ("connector.settings", pointer) == (refused.value.code, refused.value.pointer)


async def start(path: Path, broker: TestBroker | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open everything and ask for the status once."""
    ordinary = Client.open

    def opened(url: str, access: Any, **more: Any) -> Any:
        transport = httpx2.MockTransport(lambda _: httpx2.Response(503)) if broker is None else broker.transport
        return ordinary(url, access, **more, transport=transport)

    with monkeypatch.context() as patched:
        patched.setattr(Client, "open", opened)
        async with source_serve.opened(path) as made:
            assert ("127.0.0.1", 8471, 0) == (made.host, made.port, made.desk.waiting())


@pytest.mark.asyncio
async def test_the_first_start_pins_the_brokers_directory_and_makes_the_local_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, path = TestBroker(), source(tmp_path)
    (tmp_path / "api.token").write_text(broker.token(PORTAL))

    await start(path, broker, monkeypatch)

    assert 1 == Pin(tmp_path / "directory.pin", broker.chain.ledger).version
    token = (tmp_path / "local.token").read_text()
    assert 0o600 == (tmp_path / "local.token").stat().st_mode & 0o777
    assert len(token) > 40
    broker.rotate_source()
    await start(path, broker, monkeypatch)
    assert token == (tmp_path / "local.token").read_text()
    asked = broker.answers.asked.count("GET /log/vkey")
    assert (1, 1) == (asked, Pin(tmp_path / "directory.pin").version)  # what follows is taken when it is needed


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("over", "open_to_others", "code"),
    [
        ({"token_file": None}, None, "source.access"),
        ({"api_key": "signing.key", "audience": "urn:unefois:broker"}, None, "source.access"),
        ({"token_file": None, "api_key": "signing.key"}, None, "source.access"),
        ({"token_file": "none.token"}, None, "source.no-file"),
        ({}, "api.token", "source.open-to-others"),
        ({}, "signing.key", "key-file.open-to-others"),
        ({"signing_keys": ["none.key"]}, None, "key-file.unreadable"),
        ({"policy": 4}, None, "declaration.keys"),
        ({"party": "x"}, None, "name.party"),
        ({"broker": "http://broker.example"}, None, "client.url"),
        ({"ledger": "no key"}, None, "note.key-malformed"),
        ({}, None, "client.away"),
    ],
)
async def test_what_is_missing_or_open_to_others_starts_nothing(
    over: dict[str, Any], open_to_others: str | None, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = source(tmp_path, **over)
    if open_to_others is not None:
        (tmp_path / open_to_others).chmod(0o644)

    with pytest.raises(Exception, match=code.replace(".", r"\.")):
        await start(path, None, monkeypatch)

    assert not (tmp_path / "directory.pin").exists()


@pytest.mark.asyncio
async def test_an_empty_secret_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = source(tmp_path)
    (tmp_path / "api.token").write_text("two\nlines")

    with pytest.raises(Refused) as refused:
        await start(path, None, monkeypatch)

    assert "source.secret" == refused.value.code


class TestProgram:
    def test_a_new_key_is_told_by_its_public_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["key", "new", str(tmp_path / "a.key"), "--kind", "x25519"])
        made = capsys.readouterr().out
        main(["key", "show", str(tmp_path / "a.key")])

        assert made == capsys.readouterr().out
        assert f"{key_files.public(key_files.read(tmp_path / 'a.key'))}\n" == made

    def test_a_fault_is_its_code_its_sentences_and_1(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
        with pytest.raises(SystemExit) as end:
            main(["key", "show", str(tmp_path / "none")])

        assert 1 == end.value.code
        assert capsys.readouterr().err.startswith("key-file.unreadable  none\n  Le fichier none ne peut pas être lu.\n")

    def test_a_receipt_that_is_none_is_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "receipt").write_text("no receipt")
        key = "log.example.fr/unefois+8fe4b09f+AWW1LViwxsRA2/1GQIhCk6X/Tfyhw1FvDtb7ho9Fk8tG"
        with pytest.raises(SystemExit):
            main(["receipt", "check", str(tmp_path / "receipt"), "--key", key])
        with pytest.raises(SystemExit):
            main(["receipt", "check", str(tmp_path / "none"), "--key", key])

        assert "receipt.not-a-receipt" in capsys.readouterr().err

    def test_a_type_is_shown_as_the_brokers_own_program_shows_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        main(["type", "show", "address.changed", "--json"])
        assert Program(Path()).told("type", "show", "address.changed") == json.loads(capsys.readouterr().out)
        main(["type", "show", "address.changed/2", "--lang", "fr"])
        assert Program(Path()).run("type", "show", "address.changed", "--lang", "fr").stdout == capsys.readouterr().out

    def test_every_type_is_listed(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
        main(["type", "list"])
        shown = capsys.readouterr().out
        main(["type", "list", "--json"])

        assert [each.event_type for each in builtin().newest] == [line.split()[0] for line in shown.splitlines()]
        assert "Changement d'adresse" in shown
        told = json.loads(capsys.readouterr().out)["types"]
        assert [each.event_type for each in builtin().newest] == [each["event_type"] for each in told]

    def test_what_to_do_names_this_program(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["type", "show", "address.moved"])

        assert "Run `unefois-agency type list`" in capsys.readouterr().err
