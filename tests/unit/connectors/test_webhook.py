"""The webhook, read by a real server and verified by other means than its own."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from standardwebhooks import Webhook

from connectors.contract import Ground, Ready, Reject, Retry
from connectors.webhook import WebhookConnector
from schemas.errors import Fault, Refused
from schemas.names import DeliveryId, EventType, Instant
from schemas.webhooks import public_key_of, signer_of

SEED = bytes(range(32))
PUBLIC = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
KEY = "whsk_" + base64.b64encode(SEED).decode()
SECRET = "whsec_" + base64.b64encode(bytes(range(100, 132))).decode()
READY = Ready(DeliveryId(bytes(range(16))), EventType("fr.unefois.address.changed.v1"))
MESSAGE_ID = "00010203-0405-0607-0809-0a0b0c0d0e0f"


@dataclass
class Heard:
    """One request as the agency's server got it."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """An agency's server: answers as it is told, and remembers what it heard."""

    url: str
    heard: list[Heard] = field(default_factory=list)
    status: int = 204
    answer: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        told: ClassVar[Server]

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.told.heard.append(Heard(self.path, headers, body))
            self.send_response(self.told.status)
            for name, value in self.told.answer.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.told = Server(f"http://127.0.0.1:{httpd.server_port}/unefois?agency=7")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Handler.told
    httpd.shutdown()
    thread.join()
    httpd.server_close()


async def tell(server: Server, ground: Ground, *keys: str) -> None:
    connector = await WebhookConnector.open({"url": server.url, "keys": keys or (KEY,)}, ground)
    try:
        await connector.tell(READY)
    finally:
        await connector.close()


async def fault_of(awaitable: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        await awaitable
    return caught.value


@pytest.mark.asyncio
async def test_the_message_says_which_delivery_waits_and_nothing_else(server: Server, ground: Ground) -> None:
    await tell(server, ground)
    (heard,) = server.heard
    expected = {
        "type": "delivery.ready",
        "timestamp": "2026-11-02T09:00:00.000Z",
        "data": {"delivery_id": MESSAGE_ID, "event_type": "fr.unefois.address.changed.v1"},
    }
    assert (expected, "/unefois?agency=7") == (json.loads(heard.body), heard.path)
    assert {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": "1793610000",
        "content-type": "application/json",
        "user-agent": "unefois-webhook/1",
    }.items() <= heard.headers.items()
    assert b" " not in heard.body


@pytest.mark.asyncio
async def test_the_v1a_signature_is_ed25519_over_id_timestamp_and_body(server: Server, ground: Ground) -> None:
    await tell(server, ground)
    (heard,) = server.heard
    version, signature = heard.headers["webhook-signature"].split(",")
    signed = f"{heard.headers['webhook-id']}.{heard.headers['webhook-timestamp']}.".encode() + heard.body
    public = Ed25519PublicKey.from_public_bytes(PUBLIC)
    public.verify(base64.b64decode(signature), signed)
    assert "v1a" == version
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(signature), signed + b" ")


@pytest.mark.asyncio
async def test_the_v1_signature_is_accepted_by_the_standards_own_library(
    server: Server, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library reads the machine's clock; everything else of it runs as it is.
    monkeypatch.setattr(
        Webhook, "_Webhook__verify_timestamp", lambda _, header: datetime.fromtimestamp(int(header), UTC)
    )
    await tell(server, ground, SECRET)
    (heard,) = server.heard
    assert MESSAGE_ID == Webhook(SECRET).verify(heard.body, heard.headers)["data"]["delivery_id"]


def test_the_v1_signature_is_the_one_of_the_standards_example() -> None:
    # From the libraries' shared test data: secret, id, timestamp, payload and signature are theirs.
    sign = signer_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" == sign(
        b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    )


@pytest.mark.asyncio
async def test_while_keys_rotate_there_is_a_signature_by_each(server: Server, ground: Ground) -> None:
    old = "whsk_" + base64.b64encode(bytes(32)).decode()
    await tell(server, ground, KEY, old, SECRET)
    versions = [each.split(",")[0] for each in server.heard[0].headers["webhook-signature"].split(" ")]
    assert ["v1a", "v1a", "v1"] == versions


@pytest.mark.asyncio
async def test_another_attempt_has_the_same_id_and_its_own_timestamp(
    server: Server, ground: Ground, clock: Any
) -> None:
    await tell(server, ground)
    clock.at += 61_000
    await tell(server, ground)
    assert [(MESSAGE_ID, "1793610000"), (MESSAGE_ID, "1793610061")] == [
        (each.headers["webhook-id"], each.headers["webhook-timestamp"]) for each in server.heard
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [200, 202, 204, 299])
async def test_any_2xx_is_heard(status: int, server: Server, ground: Ground) -> None:
    server.status = status
    await tell(server, ground)
    assert 1 == len(server.heard)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "answer", "after_ms"),
    [
        (429, {"retry-after": "120"}, 120_000),
        (503, {"retry-after": "Mon, 02 Nov 2026 09:01:00 GMT"}, 60_000),
        (500, {"retry-after": "soon"}, None),
        (404, {}, None),
        (401, {}, None),
    ],
)
async def test_anything_else_is_tried_again_not_before_the_server_asks(
    status: int, answer: dict[str, str], after_ms: int | None, server: Server, ground: Ground
) -> None:
    server.status, server.answer = status, answer
    fault = await fault_of(tell(server, ground))
    assert (Retry, "webhook.answer", status) == (type(fault), fault.code, fault.details["status"])
    assert isinstance(fault, Retry)
    assert after_ms == fault.after_ms


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int, server: Server, ground: Ground) -> None:
    server.status, server.answer = status, {"location": "/elsewhere"}
    fault = await fault_of(tell(server, ground))
    assert ("webhook.answer", status, 1) == (fault.code, fault.details["status"], len(server.heard))


@pytest.mark.asyncio
async def test_gone_is_the_end(server: Server, ground: Ground) -> None:
    server.status = 410
    fault = await fault_of(tell(server, ground))
    assert (Reject, "webhook.gone") == (type(fault), fault.code)


@pytest.mark.asyncio
async def test_a_server_that_is_not_there_is_a_retry(server: Server, ground: Ground) -> None:
    server.url = "http://127.0.0.1:9/"
    fault = await fault_of(tell(server, ground))
    assert (Retry, "webhook.unreachable", "ConnectError") == (type(fault), fault.code, fault.details["kind"])


@pytest.mark.asyncio
async def test_a_server_that_does_not_answer_in_time_is_a_retry(ground: Ground) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as silent:  # listens, and nobody serves
        connector = await WebhookConnector.open(
            {"url": f"http://127.0.0.1:{silent.server_port}/", "keys": [KEY], "timeout_s": 0.05}, ground
        )
        fault = await fault_of(connector.tell(READY))
        await connector.close()
    assert (Retry, "webhook.unreachable", "ReadTimeout") == (type(fault), fault.code, fault.details["kind"])


@pytest.mark.asyncio
async def test_a_proxy_of_the_environment_hears_nothing(
    server: Server, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    await tell(server, ground)
    assert 1 == len(server.heard)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("code", "pointer", "settings"),
    [
        ("connector.settings", "/url", {"url": "http://agency.example/hook"}),
        ("connector.settings", "/url", {"url": "ftp://127.0.0.1/"}),
        ("connector.settings", "/url", {"url": "https://user:pass@agency.example/"}),
        ("connector.settings", "/url", {"url": "https://"}),
        ("connector.settings", "/url", {"url": "https://agency.example:port/"}),
        ("connector.settings", "/url", {"url": "https://a b/"}),
        ("connector.settings", "/keys", {"keys": []}),
        ("connector.settings", "/keys", {"keys": [KEY] * 5}),
        ("connector.settings", "/timeout_s", {"timeout_s": 0}),
        ("connector.settings", "/timeout_s", {"timeout_s": 31}),
        ("webhook.key", "/keys/1", {"keys": [KEY, "whsk_AAAA"]}),
        ("webhook.key", "/keys/0", {"keys": ["whsk_" + base64.b64encode(SEED + bytes(32)).decode()]}),
        ("webhook.key", "/keys/0", {"keys": ["whsk_*"]}),
        ("webhook.key", "/keys/0", {"keys": ["whsec_" + base64.b64encode(bytes(23)).decode()]}),
        ("webhook.key", "/keys/0", {"keys": ["whsec_" + base64.b64encode(bytes(65)).decode()]}),
        ("webhook.key", "/keys/0", {"keys": ["whpk_" + base64.b64encode(PUBLIC).decode()]}),
        ("webhook.key", "/keys/0", {"keys": ["é"]}),
        ("webhook.ca-file", "/ca_file", {"ca_file": "/nowhere.pem"}),
    ],
)
async def test_a_wrong_setting_is_refused_at_its_place(
    code: str, pointer: str, settings: dict[str, Any], ground: Ground
) -> None:
    whole = {"url": "https://agency.example/", "keys": [KEY]} | settings
    fault = await fault_of(WebhookConnector.open(whole, ground))
    assert (Refused, code, pointer) == (type(fault), fault.code, fault.pointer)
    assert KEY not in repr(fault)


def test_a_key_pair_of_64_bytes_signs_like_its_seed() -> None:
    pair = "whsk_" + base64.b64encode(SEED + PUBLIC).decode()
    assert signer_of(KEY)(b"x") == signer_of(pair)(b"x")


def test_the_agency_gets_the_public_key_to_verify_with() -> None:
    assert "whpk_" + base64.b64encode(PUBLIC).decode() == public_key_of(KEY)
    with pytest.raises(Refused) as caught:
        public_key_of(SECRET)
    assert "webhook.key" == caught.value.code


@pytest.mark.asyncio
async def test_the_agencys_own_authority_is_trusted_beside_the_systems(ground: Ground, tmp_path: Any) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_text("not a certificate")
    fault = await fault_of(
        WebhookConnector.open({"url": "https://a.example", "keys": [KEY], "ca_file": str(pem)}, ground)
    )
    assert "webhook.ca-file" == fault.code
    assert ssl.create_default_context().check_hostname


def test_a_moment_is_part_of_what_is_signed(ground: Ground) -> None:
    assert signer_of(KEY)(b"a.1.{}") != signer_of(KEY)(b"a.2.{}")
    assert Instant(1_793_610_000_000) == ground.clock()
