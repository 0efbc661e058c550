"""A key of one's own at the token endpoint: openid-client and Authlib, set as docs/agency/clients.md says."""

import json
from pathlib import Path

import pytest
from joserfc.jwk import OKPKey

from tests.agency.conftest import TOWN, Served
from tests.agency.foreign.clients import Room


@pytest.mark.parametrize("client", ["openid-client", "Authlib"])
def test_a_pinned_key_gets_one_token_after_another_and_no_scope_that_it_may_not_have(
    room: Room, served: Served, tmp_path: Path, client: str
) -> None:
    key = OKPKey.generate_key("Ed25519")
    (tmp_path / "client.jwk").write_text(json.dumps(key.as_dict(private=False)))
    pinned = served.unefois("token", "pin", TOWN, tmp_path / "client.jwk", "--scope", "receive", "--scope", "read")

    seen = room.run(client, broker=served.address, party=TOWN, jwk=key.as_dict(private=True), kid=pinned["kid"])

    assert ["read", "read receive"] == seen["scopes"]
    assert 590 < seen["seconds"] <= 600
    assert TOWN == seen["status"]["party"]
    assert "invalid_scope" == seen["refused"]
