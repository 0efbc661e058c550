"""The route that the page on `rest` gives to copy does what the page says."""

from pathlib import Path
from typing import Any

import pytest

from connectors import strict_yaml
from connectors.contract import Ground, Otherwise
from connectors.kit.bench import MOVED, START, TOWN
from connectors.kit.rest_system import RestSystem, says
from connectors.rehearsal import Rehearsal
from connectors.rest.connector import RestConnector
from schemas.names import Reason, uuid_text
from schemas.samples import sample
from tests.docs.pages import DOCS, blocks


@pytest.mark.asyncio
async def test_the_route_of_the_page_is_carried_out(tmp_path: Path) -> None:
    (block,) = (one for one in blocks(DOCS / "connectors/rest.md") if one.kind == "yaml")
    (route,) = strict_yaml.read(block.text.encode())["routes"]  # type: ignore[index]
    told: dict[str, Any] = dict(route["settings"])
    (tmp_path / "secret").write_text("s\n")
    system = RestSystem(client=("unefois", "s"))
    drawn = iter(range(10_000))
    ground = Ground(lambda: START, lambda size: bytes([next(drawn) % 251]) * size)
    rehearsal = Rehearsal(TOWN, ground.clock, ground.entropy)
    one, other = (rehearsal.verified(rehearsal.declare(MOVED, sample(MOVED), ("subject",))) for _ in range(2))
    async with system.serving():
        here = f"http://127.0.0.1:{system.port}"
        auth = {**told["auth"], "token_url": f"{here}/oauth/token", "client_secret": {"file": str(tmp_path / "secret")}}
        told |= {"url": here, "auth": auth, "journal": str(tmp_path / "journal.db"), "path": "/moves"}
        told["body"] = {**told["body"], "name": "{name}"}  # the system of the kit has the name there
        connector = await RestConnector.open(told, ("name", "phone"), ground)
        assert "M-1" == await connector.write(one, {"name": "Aubin", "phone": None})
        kept = {"ref": uuid_text(one.delivery_id), "person": {"name": "Aubin", "phone": None}, "name": "Aubin"}
        system.wrong = says(404, b'{"error": {"code": "person-unknown"}}')
        with pytest.raises(Otherwise) as answered:
            await connector.write(other, {"name": "Brocely"})
        await connector.close()
    assert [{**kept, "id": "M-1", "key": uuid_text(one.delivery_id)}] == system.moves
    assert Reason.UNKNOWN_PERSON is answered.value.outcome.reason  # type: ignore[union-attr]
