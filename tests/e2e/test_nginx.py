"""A real nginx with our configuration before `unefois serve --role api` and `--role gate`, two processes: a token that
is bound to a client's certificate is good through it with that certificate alone, and what a client says of its
certificate ends at the proxy.
"""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import SIGTERM
from types import SimpleNamespace
from typing import IO, Any, Final
from urllib.parse import quote, urlencode

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from broker.web.agencies.tokens import ASSERTION, FORM
from schemas.names import Instant
from tests.clients import Client
from tests.services import certificates
from tests.services.absent import Absent
from tests.services.processes import bound_to_parent, end, free_port, listens, wait_for
from tests.world import CAF

pytestmark = pytest.mark.proof
ROOT: Final = Path(__file__).parents[2]
OURS: Final = ROOT / "deploy" / "nginx" / "unefois.conf"
NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of the administrations")])


class Authority:
    """Who signs the certificates of administrations."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        basic = x509.BasicConstraints(ca=True, path_length=0)
        self.certificate = _built(NAME, self.key, basic).sign(self.key, hashes.SHA256())

    def issue(self, folder: Path, name: str) -> Path:
        """A client's key and certificate, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=False, path_length=None)
        made = _built(subject, key, basic).sign(self.key, hashes.SHA256())
        file = folder / f"{name}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(private + made.public_bytes(Encoding.PEM))
        return file


def _built(subject: x509.Name, key: ec.EllipticCurvePrivateKey, basic: x509.BasicConstraints) -> Any:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(subject_name=subject, issuer_name=NAME, public_key=key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
    return made.not_valid_after(now + timedelta(days=2)).add_extension(basic, critical=True)


class Front:
    """The proxy: its address, the broker behind it, and clients with or without a certificate."""

    def __init__(self, folder: Path, home: Path, port: int, gate: int, authority: Authority) -> None:
        self.folder = folder
        self.home = home
        self.port = port
        self.gate = f"http://127.0.0.1:{gate}"
        self.first, self.second = (authority.issue(folder, name) for name in ("caf", "other"))
        self.stranger = Authority().issue(folder, "stranger")

    def client(self, certificate: Path | None = None) -> httpx2.Client:
        """Somebody over TLS."""
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        if certificate is not None:
            context.load_cert_chain(certificate)
        return httpx2.Client(base_url=f"https://localhost:{self.port}", verify=context, trust_env=False)

    def token(self, assertion: str, certificate: Path | None) -> str:
        """An access token, asked for through the proxy."""
        told = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION, "client_assertion": assertion}
        with self.client(certificate) as http:
            answer = http.post("/oauth2/token", content=urlencode(told), headers={"content-type": FORM})
        assert 200 == answer.status_code, answer.text
        return str(answer.json()["access_token"])

    def status(self, token: str, certificate: Path | None, **headers: str) -> tuple[int, str]:
        """What `GET /v1/status` is answered: the status, and the code of a refusal."""
        sent = {"authorization": f"Bearer {token}"} | {name.replace("_", "-"): told for name, told in headers.items()}
        with self.client(certificate) as http:
            answer = http.get("/v1/status", headers=sent)
        told = answer.json() if "json" in answer.headers["content-type"] else {}
        return answer.status_code, str(told.get("code", ""))


def configuration(folder: Path, port: int, behind: int, gate: int, tls: Path) -> str:
    """Ours, as it is deployed, but for addresses and files."""
    text = OURS.read_text()
    before, named, after = text.partition("upstream unefois_gate {")
    assert named
    text = before + named + after.replace("server 127.0.0.1:8470;", f"server 127.0.0.1:{gate};", 1)
    for told, here in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("server 127.0.0.1:8470;", f"server 127.0.0.1:{behind};"),
        ("broker.example.fr", "localhost"),
        ("/etc/unefois/tls/fullchain.pem", str(tls)),
        ("/etc/unefois/tls/privkey.pem", str(tls)),
        ("/etc/unefois/tls/administrations-ca.pem", str(folder / "administrations-ca.pem")),
    ):
        assert told in text, told
        text = text.replace(told, here)
    places = "".join(
        f"{name}_temp_path {folder / name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    log = f"error_log {folder / 'error.log'} info;\npid {folder / 'pid'};\ndaemon off;\nmaster_process off;\n"
    return f"{log}events {{}}\nhttp {{\n{places}{text}}}\n"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """nginx before a broker that believes it."""
    try:
        program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if program is None:
            raise Absent("nginx is not installed")
        yield from _running(program, tmp_path_factory.mktemp("nginx"), tmp_path_factory.mktemp("home"))
    except Absent as absent:
        if "nginx" in os.environ.get("UNEFOIS_REQUIRE", "").split(","):
            pytest.fail(f"nginx is required: {absent}", pytrace=False)
        pytest.skip(f"nginx: {absent}")


def _running(program: str, folder: Path, home: Path) -> Iterator[Front]:
    tls, _ = certificates.make(folder)
    authority, port, behind, gate = Authority(), free_port(), free_port(), free_port()
    (folder / "administrations-ca.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    file, log = folder / "nginx.conf", folder / "error.log"
    file.write_text(configuration(folder, port, behind, gate, tls))
    _unefois(home, "init", "--address", "1 rue d'Essai", "--contact", "u@unefois.example")
    about = ("--address", "1 rue d'Essai", "--contact", "caf@unefois.example", "--retention", "two years")
    _unefois(home, "party", "add", CAF, "--name", "CAF", "--sector", "family", "--suite", "none", *about)
    with (
        (home / "serve.log").open("w") as told,
        _serving("api", behind, home, told) as api,
        _serving("gate", gate, home, told) as releasing,
    ):
        try:
            try:
                wait_for(lambda: listens(behind), api, 60, str(home / "serve.log"))
                wait_for(lambda: listens(gate), releasing, 60, str(home / "serve.log"))
            except Absent as ours:  # a broker that does not start is no nginx that is not there
                pytest.fail(str(ours), pytrace=False)
            command = bound_to_parent([program, "-p", str(folder), "-c", str(file), "-e", str(log)])
            with subprocess.Popen(command) as server:
                try:
                    wait_for(lambda: listens(port), server, 20, str(log))
                    yield Front(folder, home, port, gate, authority)
                finally:
                    end(server, SIGTERM)
        finally:
            end(api, SIGTERM)
            end(releasing, SIGTERM)
    assert (0, 0) == (api.returncode, releasing.returncode), (home / "serve.log").read_text()


def _serving(role: str, port: int, home: Path, told: IO[str]) -> "subprocess.Popen[bytes]":
    serve = [sys.executable, "-m", "broker", "serve", "--role", role, "--listen", f"127.0.0.1:{port}"]
    return subprocess.Popen(bound_to_parent(serve), cwd=ROOT, env=_environment(home), stdout=told, stderr=told)


def _environment(home: Path) -> dict[str, str]:
    kept = {name: told for name, told in os.environ.items() if not name.startswith("UNEFOIS_")}
    return kept | {
        "UNEFOIS_HOME": str(home),
        "UNEFOIS_LEDGER_ORIGIN": "log.essai.example/ledger",  # a placeholder is not served behind a proxy
        "UNEFOIS_TRUSTED_PROXIES": "127.0.0.1",
        "UNEFOIS_CERTIFICATE_PROXIES": "127.0.0.1",
    }


def _unefois(home: Path, *words: str) -> None:
    """The operator's program."""
    line = [sys.executable, "-m", "broker", *words]
    subprocess.run(line, cwd=ROOT, env=_environment(home), check=True, capture_output=True)


@pytest.fixture(scope="module")
def client(front: Front) -> Client:
    """An administration whose key is pinned, with a clock of its own."""
    told = SimpleNamespace(
        clock=lambda: Instant(time.time_ns() // 1_000_000), home=SimpleNamespace(party="urn:unefois:broker")
    )
    made = Client(told, CAF)  # type: ignore[arg-type]
    (front.folder / "caf.jwk").write_bytes(made.public)
    _unefois(front.home, "token", "pin", CAF, str(front.folder / "caf.jwk"), "--scope", "receive", "--scope", "read")
    return made


def test_a_token_is_good_with_its_certificate_and_with_no_other(front: Front, client: Client) -> None:
    token = front.token(client.assertion(), front.first)
    assert (200, "") == front.status(token, front.first)
    assert (401, "oauth.bound") == front.status(token, None)
    assert (401, "oauth.bound") == front.status(token, front.second)


def test_what_a_client_says_of_its_certificate_ends_at_the_proxy(front: Front, client: Client) -> None:
    token = front.token(client.assertion(), front.first)
    stolen = quote(front.first.read_text().partition("-----END PRIVATE KEY-----\n")[2])
    for certificate in (None, front.second):
        for name in ("client_cert", "Client_Cert"):
            assert (401, "oauth.bound") == front.status(token, certificate, **{name: stolen})
    request = f"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
    for smuggled in (f"client-cert: {stolen}\r\n" * 2, f"client_cert: {stolen}\r\n", f"client-cert : {stolen}\r\n"):
        told = raw(front, f"{request}{smuggled}connection: close\r\n\r\n".encode())
        assert told.split()[1] in {b"400", b"401"}
        assert b'"waiting"' not in told
    straight = httpx2.get(
        f"{front.gate}/v1/status", headers={"authorization": f"Bearer {token}", "client-cert": stolen}
    )
    assert 200 == straight.status_code  # so it is the proxy that refused it, and only the proxy may reach this port


def test_a_token_that_was_asked_for_without_a_certificate_is_not_bound(front: Front, client: Client) -> None:
    token = front.token(client.assertion(), None)
    assert [(200, "")] * 2 == [front.status(token, each) for each in (None, front.first)]


def test_a_certificate_of_another_authority_is_refused_by_the_proxy(front: Front, client: Client) -> None:
    assert (400, "") == front.status(front.token(client.assertion(), None), front.stranger)


def test_a_second_request_that_hides_in_the_first_reaches_nobody(front: Front, client: Client) -> None:
    token = front.token(client.assertion(), None)
    hidden = f"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
    lengths = f"content-length: {len(hidden) + 5}\r\ntransfer-encoding: chunked\r\n"
    told = raw(front, f"POST /v1/nothing HTTP/1.1\r\nhost: localhost\r\n{lengths}\r\n0\r\n\r\n{hidden}".encode())
    assert b'"waiting"' not in told


def test_the_machines_own_pages_are_not_for_outside(front: Front) -> None:
    with front.client() as http:
        assert [404, 404] == [http.get(path).status_code for path in ("/health/ready", "/metrics")]


def raw(front: Front, sent: bytes) -> bytes:
    """What comes back for these bytes, until the connection ends."""
    context = ssl.create_default_context(cafile=front.folder / "ca.pem")
    with (
        socket.create_connection(("127.0.0.1", front.port), 20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as talk,
    ):
        talk.settimeout(20)
        talk.sendall(sent)
        came = b""
        while part := talk.recv(65_536):
            came += part
    return came
