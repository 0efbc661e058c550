"""token: shown once, listed without its secret, revoked by its id."""

import asyncio
import json
from pathlib import Path

from joserfc.jwk import OKPKey

from broker.cli.exits import Exit
from broker.settings.choices import load
from broker.setup.opening import open_home
from tests.program import Program
from tests.world import CAF, CPAM


def test_a_token_is_shown_once_and_listed_without_its_secret(unefois: Program) -> None:
    issued = unefois.told("token", "issue", CAF, "--scope", "receive", "--scope", "read", "--days", 30)
    listed = unefois.told("token", "list", "--party", CAF)["tokens"]
    token = issued.pop("token")

    assert [issued | {"last_used_at": None}] == listed
    assert ["read", "receive"] == issued["scopes"]
    assert token.startswith(f"unefois_{issued['id']}_")
    assert token.rpartition("_")[2] not in unefois.run("token", "list").stdout
    assert [] == unefois.told("token", "list", "--party", CPAM)["tokens"]


def test_from_where_a_token_was_used_is_told(unefois: Program) -> None:
    issued = unefois.told("token", "issue", CAF, "--scope", "read")
    assert [] == unefois.told("token", "uses", issued["id"])["uses"]
    assert "Never used." in unefois.run("token", "uses", issued["token"]).stdout

    async def use() -> None:
        async with open_home(load(home=unefois.home)) as home:
            await home.uses.note(bytes.fromhex(issued["id"]), "192.0.2.7")

    asyncio.run(use())
    (used,) = unefois.told("token", "uses", issued["id"])["uses"]
    assert ("192.0.2.7", used["last_at"]) == (used["address"], used["first_at"])
    assert [used["last_at"]] == [one["last_used_at"] for one in unefois.told("token", "list")["tokens"]]
    assert "192.0.2.7" in unefois.run("token", "uses", issued["id"]).stdout
    assert "credentials.unknown-id" == unefois.error("token", "uses", "0" * 64, code=Exit.REFUSED)["code"]


def test_a_token_is_revoked_by_its_id_or_by_the_token_that_somebody_found(unefois: Program) -> None:
    first, second = (unefois.told("token", "issue", CAF, "--scope", "read") for _ in range(2))

    assert unefois.told("token", "revoke", first["id"])["revoked_at"] is not None
    assert second["id"] == unefois.told("token", "revoke", second["token"])["id"]
    assert "credentials.already-revoked" == unefois.error("token", "revoke", first["id"], code=Exit.REFUSED)["code"]
    assert unefois.told("fsck")["clean"]


def test_a_scope_that_is_none_and_an_id_that_is_none_are_errors_of_usage(unefois: Program) -> None:
    assert "cli.usage" == unefois.error("token", "issue", CAF, "--scope", "everything", code=Exit.USAGE)["code"]
    assert "cli.usage" == unefois.error("token", "revoke", "nonsense", code=Exit.USAGE)["code"]
    assert "credentials.no-scope" == unefois.error("token", "issue", CAF, code=Exit.REFUSED)["code"]


def test_a_clients_key_is_pinned_listed_and_revoked(unefois: Program, tmp_path: Path) -> None:
    file = tmp_path / "client.jwk"
    key = OKPKey.generate_key("Ed25519")
    file.write_text(json.dumps(key.as_dict(private=False)))

    pinned = unefois.told("token", "pin", CAF, file, "--scope", "receive")

    assert key.thumbprint() == pinned["kid"]  # what the client's assertions name it by
    assert [pinned] == unefois.told("token", "keys", "--party", CAF)["keys"]
    assert unefois.told("token", "unpin", pinned["id"])["revoked_at"] is not None
    assert "oauth.already-revoked" == unefois.error("token", "unpin", pinned["id"], code=Exit.REFUSED)["code"]
    assert "oauth.key-exists" == unefois.error("token", "pin", CAF, file, "--scope", "read", code=Exit.REFUSED)["code"]
    assert unefois.told("fsck")["clean"]
