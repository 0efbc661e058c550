"""`unefois-agency publik serve`, as the wheel installs it, between a call that Publik signs and a broker on a port."""

import json
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from connectors.mapping import load, packaged
from tests.agency.conftest import Environment, Served, plain, told
from tests.publik.test_double import query

SOURCE = "urn:unefois:demarches"
FORM: dict[str, Any] = load(packaged()["publik-address-changed.in.yaml"]).tests[0].given


def signed(nonce: str, **more: str) -> str:
    return query("clé", datetime.now(UTC), orig="demarches.ville.example", nonce=nonce, **more)


def test_a_form_of_publik_reaches_a_real_broker_once(served: Served, environment: Environment, tmp_path: Path) -> None:
    public = environment.run(
        environment.program, "key", "new", "signing.key", "--kind", "ed25519", cwd=tmp_path
    ).strip()
    about = ("--address", "1 rue X", "--contact", "c@example.fr", "--retention", "one year")
    told(served.home, "party", "add", SOURCE, "--name", "S", "--kind", "portal", "--sector", "portal",
         "--suite", "none", "--publishes", "address.changed", *about)  # fmt: skip
    told(served.home, "party", "add-key", SOURCE, public)
    for name, secret in (("api.token", served.token(SOURCE, "publish", "read")), ("publik.key", "clé")):
        (tmp_path / name).write_text(secret, "utf-8")
        (tmp_path / name).chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    source = {"broker": served.address, "party": SOURCE, "signing_keys": ["signing.key"], "token_file": "api.token"}
    (tmp_path / "source.yaml").write_text(json.dumps(source))
    publik = {"hosts": {"demarches.ville.example": "publik.key"}, "listen": listen}
    publik["forms"] = {"adresse": {"mapping": "publik-address-changed"}}  # type: ignore[assignment]
    (tmp_path / "publik.yaml").write_text(json.dumps(publik))
    line = [str(environment.program), "publik", "serve", "publik.yaml"]
    with subprocess.Popen(line, cwd=tmp_path, env=plain(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert f"Running: publik. http://{listen}\n" == process.stdout.readline()
        with httpx2.Client(transport=httpx2.HTTPTransport(retries=20), base_url=f"http://{listen}") as client:
            first, second = (client.post(f"/publik/adresse/?{signed(one)}", json=FORM).json() for one in "ab")
            assert (0, "received") == (first["err"], first["data"]["state"])
            assert first == second
            followed = client.get(f"/publik/adresse/?{signed('c', uuid=FORM['uuid'])}").json()
            assert "received" == followed["data"][0]["id"]
            assert 403 == client.get(f"/publik/adresse/?{signed('c', uuid=FORM['uuid'])}").status_code
        process.terminate()
