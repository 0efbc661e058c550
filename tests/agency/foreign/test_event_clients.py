"""Declarations as CloudEvents, handed in with the SDKs for Go and JavaScript; Python's is in test_real_clients."""

from base64 import b64encode

import httpx2
import pytest

from tests.agency.conftest import Served
from tests.agency.declared import signed
from tests.agency.foreign.clients import Room

GO, JAVASCRIPT = "the CloudEvents SDK for Go", "the CloudEvents SDK for JavaScript"


@pytest.mark.parametrize(
    ("sdk", "mode", "status"),
    [
        *[(sdk, mode, 202) for sdk in (GO, JAVASCRIPT) for mode in ("structured", "binary")],
        (GO, "batch", 200),  # the answer holds each one's own
    ],
)
def test_an_event_is_taken(room: Room, served: Served, sdk: str, mode: str, status: int) -> None:
    made = signed(served)
    told = {"token": made.token, "mode": mode, "attributes": made.attributes}

    seen = room.run(sdk, address=f"{served.address}/v1/declarations", data=b64encode(made.envelope).decode(), **told)

    assert status == seen["status"]
    headers = {"Authorization": f"Bearer {made.token}"}
    kept = httpx2.get(f"{served.address}/v1/declarations/{made.attributes['id']}", headers=headers)
    assert made.attributes["id"] == kept.raise_for_status().json()["declaration"]
