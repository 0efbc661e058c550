"""Declarations as CloudEvents, handed in with the SDKs for Go and JavaScript; Python's is in test_real_clients."""

from base64 import b64encode

import httpx2
import pytest

from tests.agency.conftest import Served
from tests.agency.declared import signed
from tests.agency.foreign.clients import Room

SDKS = ("the CloudEvents SDK for Go", "the CloudEvents SDK for JavaScript")


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_an_event_is_taken(room: Room, served: Served, sdk: str, mode: str) -> None:
    made = signed(served)
    told = {"token": made.token, "mode": mode, "attributes": made.attributes}

    seen = room.run(sdk, address=f"{served.address}/v1/declarations", data=b64encode(made.envelope).decode(), **told)

    assert 202 == seen["status"]
    headers = {"Authorization": f"Bearer {made.token}"}
    kept = httpx2.get(f"{served.address}/v1/declarations/{made.attributes['id']}", headers=headers)
    assert made.attributes["id"] == kept.raise_for_status().json()["declaration"]
