"""Outbound: what is called, at which address, and how much of an answer is read. Real sockets; names are ours."""

import asyncio
import ssl
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broker.outbound import Outbound, public
from schemas.errors import Fault, Refused, Unavailable
from tests.speaking import Server, listening


class Names:
    """A name server: what each name leads to, one answer after the other, the last one for ever."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(told) for name, told in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        told = self.answers.get(host)
        if told is None:
            raise OSError("no such name")
        return told.pop(0) if len(told) > 1 else told[0]


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


async def fault_of(call: Awaitable[Any]) -> Fault:
    with pytest.raises(Fault) as caught:
        await call
    return caught.value


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for hooks.example that signs itself, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


INSIDE = (
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:0:1::1",
    "fc00::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "100::1",
)


class TestWhichAddress:
    @pytest.mark.parametrize("address", INSIDE)
    def test_what_is_inside_a_network_is_not_public(self, address: str) -> None:
        assert not public(ip_address(address))

    @pytest.mark.parametrize(
        "address", ["8.8.8.8", "2a01:e0a::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"]
    )
    def test_what_anybody_reaches_is(self, address: str) -> None:
        assert public(ip_address(address))

    @pytest.mark.asyncio
    @pytest.mark.parametrize("address", INSIDE)
    async def test_a_name_that_leads_inside_is_not_called(self, address: str) -> None:
        async with Outbound.open(resolve=Names(a_example=[[address]])) as outbound:
            fault = await fault_of(outbound.call("GET", "https://a.example/"))
        assert (Refused, "outbound.address") == (type(fault), fault.code)

    @pytest.mark.asyncio
    async def test_one_address_inside_condemns_the_name(self) -> None:
        async with Outbound.open(resolve=Names(a_example=[["8.8.8.8", "10.0.0.1"]])) as outbound:
            assert "outbound.address" == (await fault_of(outbound.call("GET", "https://a.example/"))).code

    @pytest.mark.asyncio
    @pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"])
    async def test_an_address_in_the_url_is_looked_at_like_a_names(self, host: str) -> None:
        async with Outbound.open() as outbound:  # the system's own resolver
            fault = await fault_of(outbound.call("GET", f"https://{host}:8443/"))
        assert "outbound.address" == fault.code

    @pytest.mark.asyncio
    async def test_a_name_that_moves_inside_after_it_was_looked_at_gains_nothing(self) -> None:
        server = Server(OK)
        async with listening(server) as port:
            names = Names(a_example=[["127.0.0.1"], ["127.0.0.2"], ["10.0.0.1"]])
            async with Outbound.open([f"a.example:{port}"], resolve=names) as outbound:
                await outbound.call("GET", f"http://a.example:{port}/")  # one answer, and that one is connected to
            assert (["a.example"], 1) == (names.asked, len(server.heard))
            async with Outbound.open(resolve=Names(a_example=[["127.0.0.1"]])) as outbound:
                fault = await fault_of(outbound.call("GET", f"https://a.example:{port}/"))
        assert ("outbound.address", 1) == (fault.code, len(server.heard))

    @pytest.mark.asyncio
    async def test_the_next_address_is_tried_where_one_does_not_take_the_connection(self) -> None:
        server = Server(OK)
        async with listening(server) as port:  # nobody listens on 127.0.0.2 at this port
            names = Names(a_example=[["127.0.0.2", "127.0.0.1"]])
            async with Outbound.open(["a.example"], resolve=names) as outbound:
                reply = await outbound.call("GET", f"http://a.example:{port}/")
        assert (200, b"hi", True) == (reply.status, reply.body, reply.whole)


class TestWhichUrl:
    @pytest.mark.asyncio
    @pytest.mark.parametrize(
        "url",
        [
            "http://a.example/",
            "ftp://a.example/",
            "https://",
            "https://user@a.example/",
            "https://user:pass@a.example/",
            "https://a.example/#part",
            "https://a.example:25/",
            "https://a.example:0/",
            "https://a.example:99999/",
            "https://a.example:port/",
            "https://a b/",
            "https://a.example/\n",
            "//a.example/",
            "",
            "https://a.example/" + "x" * 2048,
        ],
    )
    async def test_what_is_no_https_address_is_refused_before_anything_is_asked(self, url: str) -> None:
        names = Names()
        async with Outbound.open(["b.example"], resolve=names) as outbound:
            with pytest.raises(Refused, match=r"outbound\.url"):
                outbound.check(url)
            assert ("outbound.url", []) == ((await fault_of(outbound.call("GET", url))).code, names.asked)

    @pytest.mark.asyncio
    @pytest.mark.parametrize(
        "url", ["https://a.example/x?y=1", "https://A.Example:8443/", "https://a.example./", "https://[2a01::1]/"]
    )
    async def test_an_https_address_may_be_called(self, url: str) -> None:
        async with Outbound.open(resolve=Names()) as outbound:
            outbound.check(url)

    @pytest.mark.asyncio
    async def test_plain_http_is_for_this_machine_and_by_name_alone(self) -> None:
        async with Outbound.open(["a.example"], resolve=Names(a_example=[["10.0.0.1"]])) as outbound:
            fault = await fault_of(outbound.call("GET", "http://a.example:8080/"))
            assert "outbound.address" == fault.code
            with pytest.raises(Refused, match=r"outbound\.url"):
                outbound.check("http://b.example:8080/")

    @pytest.mark.asyncio
    async def test_a_name_with_its_port_allows_that_port_alone(self) -> None:
        names = Names(a_example=[["127.0.0.1"]])
        async with Outbound.open(["a.example:9000"], resolve=names) as outbound:
            outbound.check("http://a.example:9000/")
            with pytest.raises(Refused, match=r"outbound\.url"):
                outbound.check("http://a.example:9001/")
            assert "outbound.address" == (await fault_of(outbound.call("GET", "https://a.example:9001/"))).code

    @pytest.mark.asyncio
    @pytest.mark.parametrize("address", ["224.0.0.1", "0.0.0.0"])
    async def test_no_name_makes_a_server_of_what_cannot_be_one(self, address: str) -> None:
        async with Outbound.open(["a.example"], resolve=Names(a_example=[[address]])) as outbound:
            assert "outbound.address" == (await fault_of(outbound.call("GET", "https://a.example/"))).code


class TestWhatIsSaid:
    @pytest.mark.asyncio
    async def test_the_request_names_the_host_and_carries_what_it_was_given(self) -> None:
        server = Server(OK)
        async with listening(server) as port, Outbound.open(["localhost"]) as outbound:
            url = f"http://localhost:{port}/hook?agency=7"
            await outbound.call("POST", url, headers={"x-id": "1"}, body=b"told")
        head, _, body = server.heard[0].partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        assert ("post /hook?agency=7 http/1.1", b"told") == (lines[0], body)
        assert {
            f"host: localhost:{port}",
            "connection: close",
            "accept-encoding: identity",
            "user-agent: unefois/1",
            "x-id: 1",
            "content-length: 4",
        } == set(lines[1:])

    @pytest.mark.asyncio
    async def test_neither_proxies_of_the_environment_nor_cookies_are_used(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        server = Server(OK.replace(b"\r\n\r\n", b"\r\nset-cookie: a=b\r\n\r\n"))
        async with listening(server) as port, Outbound.open(["localhost"]) as outbound:
            for _ in range(2):
                await outbound.call("GET", f"http://localhost:{port}/")
        assert (2, False) == (len(server.heard), b"cookie" in server.heard[1].lower())

    @pytest.mark.asyncio
    async def test_the_certificate_has_to_be_the_names_although_an_address_is_connected_to(
        self, certificate: Path
    ) -> None:
        server = Server(OK)
        names = Names(hooks_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
        allowed = ["hooks.example", "other.example"]
        async with listening(server, tls(certificate)) as port:
            async with Outbound.open(allowed, ca_file=certificate, resolve=names) as outbound:
                assert 200 == (await outbound.call("GET", f"https://hooks.example:{port}/")).status
                fault = await fault_of(outbound.call("GET", f"https://other.example:{port}/"))
            async with Outbound.open(allowed, resolve=names) as outbound:
                unknown = await fault_of(outbound.call("GET", f"https://hooks.example:{port}/"))
        expected = [(Unavailable, "outbound.away", "ConnectError")] * 2
        assert expected == [(type(each), each.code, each.details["error"]) for each in (fault, unknown)]
        assert 1 == len(server.heard)

    @pytest.mark.asyncio
    async def test_a_file_that_holds_no_certificate_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("none")
        with pytest.raises(Refused, match=r"outbound\.ca-file"):
            async with Outbound.open(ca_file=tmp_path / "ca.pem"):
                pass


class TestWhatIsRead:
    @pytest.mark.asyncio
    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    async def test_a_redirect_is_an_answer_and_not_followed(self, status: int) -> None:
        server = Server(f"HTTP/1.1 {status} x\r\nlocation: /inside\r\ncontent-length: 0\r\n\r\n".encode())
        async with listening(server) as port, Outbound.open(["localhost"]) as outbound:
            reply = await outbound.call("GET", f"http://localhost:{port}/")
            fault = await fault_of(outbound.fetch(f"http://localhost:{port}/"))
        assert (status, "/inside") == (reply.status, reply.headers["location"])
        assert (Unavailable, "outbound.answer", status) == (type(fault), fault.code, fault.details["status"])
        assert 2 == len(server.heard)

    @pytest.mark.asyncio
    async def test_a_body_that_never_ends_is_cut_at_the_limit(self) -> None:
        async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b"x" * 1000)
                await writer.drain()

        async with listening(endless) as port, Outbound.open(["localhost"]) as outbound:
            reply = await outbound.call("GET", f"http://localhost:{port}/", limit=1500)
            fault = await fault_of(outbound.fetch(f"http://localhost:{port}/", limit=1500))
        assert (200, b"x" * 1500, False) == (reply.status, reply.body, reply.whole)
        assert (Refused, "outbound.too-long", 1500) == (type(fault), fault.code, fault.details["limit"])

    @pytest.mark.asyncio
    @pytest.mark.parametrize(("limit", "whole"), [(1, False), (2, True)])
    async def test_a_body_is_whole_up_to_its_limit_and_not_beyond(self, limit: int, whole: bool) -> None:
        async with listening(Server(OK)) as port, Outbound.open(["localhost"]) as outbound:
            reply = await outbound.call("GET", f"http://localhost:{port}/", limit=limit)
        assert (b"hi"[:limit], whole) == (reply.body, reply.whole)

    @pytest.mark.asyncio
    async def test_a_body_that_comes_to_no_end_is_cut_in_time_and_the_answer_counts(self) -> None:
        async def stalling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhi")
            await asyncio.Event().wait()

        async with listening(stalling) as port, Outbound.open(["localhost"]) as outbound:
            reply = await outbound.call("GET", f"http://localhost:{port}/", seconds=0.1)
        assert (200, b"hi", False) == (reply.status, reply.body, reply.whole)

    @pytest.mark.asyncio
    async def test_a_server_or_a_name_server_that_says_nothing_is_late(self) -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.Event().wait()

        async def never(host: str, port: int) -> Sequence[str]:
            await asyncio.Event().wait()
            return ()

        async with listening(silent) as port, Outbound.open(["localhost"]) as outbound:
            late = await fault_of(outbound.call("GET", f"http://localhost:{port}/", seconds=0.05))
        async with Outbound.open(resolve=never) as outbound:
            nameless = await fault_of(outbound.call("GET", "https://a.example/", seconds=0.05))
        assert [(Unavailable, "outbound.late")] * 2 == [(type(each), each.code) for each in (late, nameless)]

    @pytest.mark.asyncio
    async def test_what_is_compressed_is_not_whole(self) -> None:
        server = Server(OK.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n"))
        async with listening(server) as port, Outbound.open(["localhost"]) as outbound:
            reply = await outbound.call("GET", f"http://localhost:{port}/")
        assert (b"hi", False) == (reply.body, reply.whole)

    @pytest.mark.asyncio
    @pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: " + b"x" * 200_000])
    async def test_an_answer_that_is_none_is_an_absence(self, answer: bytes) -> None:
        async with listening(Server(answer)) as port, Outbound.open(["localhost"]) as outbound:
            fault = await fault_of(outbound.call("GET", f"http://localhost:{port}/"))
        assert (Unavailable, "outbound.away") == (type(fault), fault.code)

    @pytest.mark.asyncio
    @pytest.mark.parametrize("found", [None, [[]]])
    async def test_a_name_that_leads_nowhere_is_an_absence(self, found: Any) -> None:
        names = Names() if found is None else Names(a_example=found)
        async with Outbound.open(resolve=names) as outbound:
            fault = await fault_of(outbound.call("GET", "https://a.example/"))
        assert (Unavailable, "outbound.away") == (type(fault), fault.code)

    @pytest.mark.asyncio
    async def test_who_is_cancelled_while_reading_is_cancelled(self) -> None:
        begun = asyncio.Event()

        async def stalling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
            begun.set()
            await asyncio.Event().wait()

        async with listening(stalling) as port, Outbound.open(["localhost"]) as outbound:
            calling = asyncio.create_task(outbound.call("GET", f"http://localhost:{port}/"))
            await begun.wait()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
