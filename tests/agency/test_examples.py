"""The examples in four languages run as they are, each with one event, against a served broker.

One whose runtime is not here is skipped and counted. With UNEFOIS_REQUIRE=examples that is a failure.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from connectors.testing import TestBroker
from schemas import avro, catalogue, confluent, samples
from schemas.names import EventType
from tests.agency.conftest import ELISE, MOVED, ROOT, TOWN, Environment, Served, moved, plain, told

EXAMPLES = ROOT / "examples"
SOURCE = "urn:unefois:sidecar"
JARS = {
    "org.apache.flink:flink-sql-avro-confluent-registry:2.2.0": (
        "dc331e14107ded6e07f5f77321aa06d8019aa9f33654d0658e49648409b5b80d"
    ),
    "org.slf4j:slf4j-api:1.7.36": "d3ef575e3e4979678dc01bf1dcce51021493b4d11fb7f1be8ad982877c16a1c0",
}
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


def needs(*tools: str) -> None:
    """Skip, or fail where it is required, without one of these programs."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing and "examples" in os.environ.get("UNEFOIS_REQUIRE", "").split(","):
        pytest.fail(f"required: {missing}", pytrace=False)
    if missing:
        pytest.skip(f"not here: {', '.join(missing)}")


def run(*words: object, cwd: Path, code: int = 0) -> str:
    """What a program prints; it has to end with this code."""
    line = [str(word) for word in words]
    done = subprocess.run(line, cwd=cwd, env=plain(), capture_output=True, text=True, check=False)
    assert code == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(served: Served, tmp_path: Path) -> Path:
    """A town's folder."""
    for name in ("town.key", "api.token"):
        shutil.copy(served.town / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def sidecar(served: Served, environment: Environment, tmp_path: Path) -> Iterator[str]:
    """A source of its own with its sidecar; a folder with `local.token`, `api.token`, `move.json`."""
    public = environment.run(
        environment.program, "key", "new", "signing.key", "--kind", "ed25519", cwd=tmp_path
    ).strip()
    if SOURCE not in [one["id"] for one in served.unefois("party", "list")["parties"]]:
        about = ("--address", "1 rue X", "--contact", "c@example.fr", "--retention", "one year")
        told(served.home, "party", "add", SOURCE, "--name", "S", "--kind", "portal", "--sector", "portal",
             "--suite", "none", "--publishes", "address.changed", *about)  # fmt: skip
    told(served.home, "party", "add-key", SOURCE, public)
    (tmp_path / "api.token").write_text(served.token(SOURCE, "publish", "read"))
    (tmp_path / "api.token").chmod(0o600)
    (tmp_path / "person.json").write_text(json.dumps(ELISE))
    (tmp_path / "move.json").write_text(json.dumps({"event_type": MOVED, "record": moved(ELISE)}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    settings = {"broker": served.address, "party": SOURCE, "signing_keys": ["signing.key"], "token_file": "api.token"}
    (tmp_path / "source.yaml").write_text(json.dumps(settings | {"listen": listen}))
    line = [str(environment.program), "source", "serve", "source.yaml"]
    with subprocess.Popen(line, cwd=tmp_path, env=plain(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert f"Running: source. http://{listen}\n" == process.stdout.readline()
        # It says so before it listens; whoever comes too early is refused by the machine, and comes again.
        transport = httpx2.HTTPTransport(retries=20)
        with httpx2.Client(transport=transport) as client:
            assert 401 == client.get(f"http://{listen}/v1/status").status_code
        yield f"http://{listen}"
        process.terminate()


def test_javascript_receives(served: Served, folder: Path) -> None:
    needs("node")
    served.declare("Le Goff")
    served.arrived()

    printed = run("node", EXAMPLES / "javascript/receive.mjs", served.address, cwd=folder)

    assert "Le Goff moves to Rennes (old commune: not told)\nacknowledged\n" == printed
    assert "" == receive_nothing(served)


def receive_nothing(served: Served) -> str:
    """What still waits for the town, if anything."""
    headers = {"Authorization": f"Bearer {(served.town / 'api.token').read_text()}"}
    status = httpx2.get(f"{served.address}/v1/status", headers=headers).json()
    return "" if status["waiting"] + status["handed"] == 0 else str(status)


@pytest.mark.parametrize(("step", "name"), [("source", "Abgrall"), ("broker", "Bozec")])
def test_javascript_believes_neither_a_false_source_nor_a_false_broker(
    served: Served, folder: Path, step: str, name: str
) -> None:
    needs("node")
    served.declare(name)
    served.arrived()
    directory = json.loads(httpx2.get(
        f"{served.address}/v1/directory", headers={"Authorization": f"Bearer {(folder / 'api.token').read_text()}"}
    ).text)  # fmt: skip
    false = TestBroker().directory().signing[0].public.hex()
    for key in directory["signing"]:
        if (key["party"] == directory["broker"]) == (step == "broker"):
            key["public"] = false
    (folder / "directory.json").write_text(json.dumps(directory))

    done = subprocess.run(["node", EXAMPLES / "javascript/receive.mjs", served.address], cwd=folder, env=plain(),
                          capture_output=True, text=True, check=False)  # fmt: skip

    assert done.returncode != 0
    assert "refused at step 3" in done.stderr
    assert "moves" not in done.stdout


def test_bash_declares_and_verifies_the_receipt_by_hand(served: Served, sidecar: str, tmp_path: Path) -> None:
    needs("bash", "curl", "jq", "openssl")
    words = (sidecar, "local.token", served.address, "api.token", "move.json")

    printed = run("bash", EXAMPLES / "bash/declare.sh", *words, "crm-1", cwd=tmp_path)
    again = run("bash", EXAMPLES / "bash/declare.sh", *words, "crm-1", cwd=tmp_path)

    assert "is received\n" in printed
    assert "Signature Verified Successfully\n" in printed
    assert printed == again


def test_bash_says_which_field_is_wrong(served: Served, sidecar: str, tmp_path: Path) -> None:
    needs("bash", "curl", "jq", "openssl")
    wrong = moved(ELISE) | {"effective_date": "soon"}
    (tmp_path / "move.json").write_text(json.dumps({"event_type": MOVED, "record": wrong}))
    words = (sidecar, "local.token", served.address, "api.token", "move.json", "crm-2")

    printed = run("bash", EXAMPLES / "bash/declare.sh", *words, cwd=tmp_path, code=1)

    assert "/record/effective_date" == json.loads(printed)["errors"][0]["pointer"]


@pytest.fixture(scope="session")
def jars(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Confluent's client and Flink's reader of its format, from their published jars: a class path."""
    needs("java", "mvn")
    folder = tmp_path_factory.mktemp("jars")
    for jar, digest in JARS.items():
        line = ["mvn", "-q", "-B", COPY, f"-Dartifact={jar}", f"-DoutputDirectory={folder}"]
        done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode and "examples" in os.environ.get("UNEFOIS_REQUIRE", "").split(","):
            pytest.fail(done.stdout[-2000:], pytrace=False)
        if done.returncode:
            pytest.skip("the jars cannot be had")
        (found,) = folder.glob(f"{jar.split(':')[1]}-*.jar")
        assert digest == hashlib.sha256(found.read_bytes()).hexdigest()
    return f"{folder}/*"


def test_java_reads_a_topics_record_with_confluents_client_and_declares_it(
    served: Served, sidecar: str, jars: str, tmp_path: Path
) -> None:
    event = catalogue.builtin().by_type(EventType(MOVED))
    written = avro.encode(event.schema, samples.sample(event.event_type))
    number = confluent.registry_id(event.schema.id)
    (tmp_path / "record-7").write_bytes(confluent.frame(number, written))
    words = (f"{served.address}/registry", "record-7", sidecar, "local.token")

    printed = run("java", "-cp", jars, EXAMPLES / "java/Publish.java", *words, cwd=tmp_path)

    name = samples.sample(event.event_type)["subject"]["family_name"]
    assert f"{event.schema.name} of {name}" == printed.splitlines()[0]
    answer = json.loads(printed.splitlines()[-1].removeprefix("201 "))
    assert "received" == answer["state"]
    assert 0 < len(answer["receipt"]["signatures"])


def test_what_a_killed_sidecar_has_accepted_is_handed_in_by_the_next_one(
    served: Served, environment: Environment, sidecar: str, tmp_path: Path
) -> None:
    """The broker is unreachable for the first sidecar, which is killed; the second one has the right address."""
    settings = json.loads((tmp_path / "source.yaml").read_text())
    (other := tmp_path / "other").mkdir()
    for name in ("signing.key", "api.token", "directory.pin"):
        shutil.copy(tmp_path / name, other / name)
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    (other / "source.yaml").write_text(json.dumps(settings | {"listen": listen, "broker": "http://127.0.0.1:1"}))
    line = [str(environment.program), "source", "serve", "source.yaml"]

    def ask(method: str, path: str, **more: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {(other / 'local.token').read_text().strip()}", **more}
        with httpx2.Client(transport=httpx2.HTTPTransport(retries=20)) as client:
            body = (tmp_path / "move.json").read_bytes() if method == "POST" else None
            return client.request(method, f"http://{listen}{path}", headers=headers, content=body)

    with subprocess.Popen(line, cwd=other, env=plain(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        answer = ask("POST", "/v1/declarations", **{"Idempotency-Key": "1", "Content-Type": "application/json"})
        assert (202, "waiting") == (answer.status_code, answer.json()["state"])
        process.kill()
    (other / "source.yaml").write_text(json.dumps(settings | {"listen": listen}))
    with subprocess.Popen(line, cwd=other, env=plain(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(5_000):
            told_now = ask("GET", f"/v1/declarations/{answer.json()['declaration']}").json()
            if told_now["state"] != "waiting":
                break
        process.terminate()

    assert "received" == told_now["state"]
    assert TOWN != SOURCE
