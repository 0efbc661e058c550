"""A key of one's own at the token endpoint: openid-client and Authlib, set as docs/agency/clients.md says."""

import json
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey

from tests.agency.conftest import TOWN, Served
from tests.agency.foreign.clients import Room


@pytest.fixture(params=["Ed25519", "P-256"])
def pinned(served: Served, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the town's client is told, with a key that was pinned for it."""
    key = OKPKey.generate_key("Ed25519") if request.param == "Ed25519" else ECKey.generate_key("P-256")
    (tmp_path / "client.jwk").write_text(json.dumps(key.as_dict(private=False)))
    made = served.unefois("token", "pin", TOWN, tmp_path / "client.jwk", "--scope", "receive", "--scope", "read")
    return {"broker": served.address, "party": TOWN, "jwk": key.as_dict(private=True), "kid": made["kid"]}


@pytest.mark.parametrize("client", ["openid-client", "Authlib"])
def test_a_pinned_key_gets_one_token_after_another_and_no_scope_that_it_may_not_have(
    room: Room, pinned: dict[str, Any], client: str
) -> None:
    seen = room.run(client, **pinned)

    assert ["read", "read receive"] == seen["scopes"]
    assert 590 < seen["seconds"] <= 600
    assert TOWN == seen["status"]["party"]
    assert "invalid_scope" == seen["refused"]


@pytest.mark.parametrize("pinned", ["Ed25519"], indirect=True)
def test_each_setting_that_authlib_has_to_be_told_is_needed(room: Room, pinned: dict[str, Any]) -> None:
    """Two tokens are asked for with each; what is refused once is refused as whatever it is."""
    kid, aud = {"kid": pinned.pop("kid")}, {"aud": "urn:unefois:broker"}
    tries = {
        "its claims twice": {"claims": aud, "headers": kid, "alg": "Ed25519", "seconds": 60},
        "the older name": {"claims": aud, "headers": kid, "alg": "EdDSA", "seconds": 60},
        "an hour": {"claims": aud, "headers": kid, "alg": "Ed25519"},
        "the endpoint for an audience": {"claims": {}, "headers": kid, "alg": "Ed25519", "seconds": 60},
        "no kid": {"claims": aud, "headers": {}, "alg": "Ed25519", "seconds": 60},
    }

    seen = room.run("Authlib", program="habits", tries=tries, **pinned)

    good, bad = ["Bearer", "invalid_client"], ["invalid_client"] * 2
    assert dict(zip(tries, [good, good, bad, bad, bad], strict=True)) == seen
