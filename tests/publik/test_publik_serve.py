"""The inbound side's file: every mistake has its place, and what it names is what answers."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from connectors import key_files, source_serve
from connectors.client import Client
from connectors.program import main
from connectors.publik import serve
from connectors.publik.signing import signed
from connectors.testing import Key, TestBroker
from schemas.assurance import Provenance
from schemas.errors import Refused
from schemas.names import Instant
from schemas.record_types import AddressChanged
from tests.publik.test_publik_inbound import FORM
from tests.unit.connectors.test_source_serve import PORTAL, source

SURE = {"assurance": "substantial", "quality": "declared", "channel": "online"}


def publik(folder: Path, **over: Any) -> Path:
    """A folder with everything that the inbound side needs."""
    source(folder)
    for name in ("publik.key", "action.key"):
        (folder / name).write_text("clé\n", "utf-8")
        (folder / name).chmod(0o600)
    told: dict[str, Any] = {
        "hosts": {"demarches.ville.example": "publik.key"},
        "forms": {"adresse": {"mapping": "publik-address-changed", "provenance": SURE}},
    }
    path = folder / "publik.yaml"
    path.write_text(json.dumps({name: value for name, value in (told | over).items() if value is not None}), "utf-8")
    return path


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"forms": {}}, "connector.settings", "/forms"),
    ({"forms": {"A b": {"mapping": "x"}}}, "connector.settings", "/forms/A b"),
    ({"forms": {"adresse": {"mapping": "publik-address-changed", "x": 1}}}, "connector.settings", "/forms/adresse/x"),
    ({"listen": "0.0.0.0:8472"}, "source.listen", "/listen"),
    ({"hosts": None}, "publik.no-key", "/hosts"),
    ({"forms": {"up": {"mapping": "publik-address-changed"}}}, "publik.name-taken", "/forms"),
    ({"forms": {"adresse": {"mapping": "commune-table"}}}, "publik.mapping-type", "/forms"),
    ({"forms": {"adresse": {"mapping": "publik-adress"}}}, "mapping.no-such-file", "/forms/adresse"),
    (
        {"forms": {"adresse": {"mapping": "publik-address-changed", "provenance": SURE | {"channel": "pigeon"}}}},
        "assurance.unknown",
        "/forms/adresse/provenance/channel",
    ),
    ({"action_key": "none.key"}, "source.no-file", ""),
    ({"source": "none.yaml"}, "source.no-file", ""),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("over", "code", "pointer"), MISTAKES)
async def test_a_mistake_in_the_file_has_its_place(
    over: dict[str, Any], code: str, pointer: str, tmp_path: Path
) -> None:
    with pytest.raises(Refused) as refused:
        async with serve.opened(publik(tmp_path, **over)):
            pass
    assert (code, pointer) == (refused.value.code, refused.value.pointer)


@pytest.mark.asyncio
async def test_no_file_and_a_key_that_others_may_read_start_nothing(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"source\.no-file"):
        serve.read(tmp_path / "publik.yaml")
    path = publik(tmp_path)
    (tmp_path / "publik.key").chmod(0o640)
    with pytest.raises(Refused, match=r"source\.open-to-others"):
        async with serve.opened(path):
            pass


@pytest.mark.asyncio
async def test_what_the_file_names_takes_a_form_of_publik(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker, path = TestBroker(), publik(tmp_path, action_key="action.key")
    (tmp_path / "api.token").write_text(broker.token(PORTAL))
    broker.keys.append(Key(PORTAL, key_files.signing_key(tmp_path / "signing.key"), broker.now))
    broker.rights.append((PORTAL, AddressChanged.event_type))
    ordinary = Client.open
    monkeypatch.setattr(
        Client, "open", lambda url, access, **more: ordinary(url, access, **more, transport=broker.transport)
    )
    for module in (serve, source_serve):
        monkeypatch.setattr(module, "now", lambda: broker.now)
    served: list[Any] = []

    async def run(made: Any, app: Any, at: tuple[str, int], started: Any) -> None:
        started(f"http://{at[0]}:{at[1]}")
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://here") as http:
            told = signed({}, "demarches.ville.example", "clé", Instant(broker.now), broker.entropy)
            served.append((await http.post(f"/publik/adresse/?{told}", json=FORM)).json())

    monkeypatch.setattr(source_serve, "run", run)
    addresses: list[str] = []
    await serve.serve(path, addresses.append)
    (told,) = served
    assert (["http://127.0.0.1:8472"], 0, "received") == (addresses, told["err"], told["data"]["state"])
    (kept,) = broker.kept.values()
    assert (PORTAL, Provenance.read(**SURE)) == (kept.verified.manifest.source, kept.verified.manifest.provenance)


def test_the_program_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["publik", "serve", str(publik(tmp_path, hosts=None)), "--lang", "fr"])
    told = capsys.readouterr().err
    assert (1, True) == (ended.value.code, told.startswith("publik.no-key  /hosts\n  Aucune clé n'est donnée"))
