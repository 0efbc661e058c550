"""What no client would send, over raw sockets against the server as it is run: one message is never two, a slow one
holds nobody up, and nothing is left of any of them.
"""

import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from broker.web import server
from broker.web.common import frame
from broker.web.common.connections import CHUNKS, Connection
from tests.answering import Answering, answering
from tests.world import CAF

PULL = "/v1/deliveries:pull"
SMUGGLED = b"GET /v1/smuggled HTTP/1.1\r\nHost: b\r\n\r\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answering]:
    """A broker that answers, and that waits for a slow head or body for a second at most."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "slow_seconds", 1.0)
        patch.setattr(server, "KEEP_ALIVE_SECONDS", 1)
        with answering(tmp_path_factory.mktemp("http")) as made:
            yield made


@contextmanager
def connected(running: Answering) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", running.port), 20) as made:
        yield made


def said(running: Answering, *parts: bytes) -> bytes:
    """Everything that is answered until the server closes, which it does after all of these."""
    with connected(running) as made:
        for part in parts:
            made.sendall(part)
        return heard(made)


def heard(made: socket.socket) -> bytes:
    content = b""
    try:
        while part := made.recv(65_536):
            content += part
    except ConnectionError:
        pass
    return content


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def request(running: Answering, *lines: str, body: bytes = b"", last: bool = True) -> bytes:
    """A pull. `last`: the connection ends with it; else another request may follow."""
    head = [f"POST {PULL} HTTP/1.1", "Host: broker", f"Authorization: Bearer {running.token(CAF)}"]
    head += ["Connection: close"] if last else []
    return "\r\n".join([*head, "Content-Type: application/json", *lines]).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 2", "Content-Length: 40"),
        ("Content-Length: 2, 40",),
        ("Content-Length: 2", "Transfer-Encoding: chunked, identity"),
        ("Transfer-Encoding: identity",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: x"),
        ("Transfer-Encoding : chunked",),
        ("Content-Length : 2",),
        ("Content-Length: +2",),
        ("Content-Length: 0x2",),
        ("Content-Length: -1",),
        ("Content-Length: 2\r\n 0",),
        ("Content-Length: 2", "Transfer-Encoding: chunked"),
        ("X: y\x00z", "Content-Length: 2"),
        ("X\t: y", "Content-Length: 2"),
        (": y", "Content-Length: 2"),
    ],
    ids=repr,
)
def test_a_message_whose_end_is_in_doubt_is_refused_and_what_follows_is_no_request(
    running: Answering, lines: tuple[str, ...]
) -> None:
    answer = said(running, request(running, *lines, body=b"{}" + SMUGGLED, last=False))
    found = statuses(answer)
    assert found, answer
    assert all(400 <= status < 500 for status in found), answer
    assert 404 not in found, answer  # the smuggled one was not looked for
    assert len(found) == 1, answer


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n", b"2\r\n{}X0\r\n\r\n", b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"],
)
def test_a_chunk_that_is_none_ends_the_connection(running: Answering, chunks: bytes) -> None:
    answer = said(running, request(running, "Transfer-Encoding: chunked", body=chunks + SMUGGLED, last=False))
    assert 404 not in statuses(answer)
    assert not [status for status in statuses(answer) if not 400 <= status < 500], answer


def test_chunks_without_an_end_are_counted(running: Answering) -> None:
    with connected(running) as made:
        made.sendall(request(running, "Transfer-Encoding: chunked"))
        try:
            for _ in range(64):
                made.sendall(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
        except ConnectionError:
            pass  # it hung up, as it may
        answer = heard(made)
    assert [413] == statuses(answer) or not answer


@pytest.mark.parametrize("token", [True, False])
def test_a_thousand_frames_around_little_are_refused_as_what_they_cost(running: Answering, token: bool) -> None:
    """Each chunk costs as much as a small request does to read, and its sender six bytes."""
    sent = request(running, "Transfer-Encoding: chunked", body=b"1\r\n \r\n" * (2 * CHUNKS) + b"0\r\n\r\n")
    sent = sent if token else sent.replace(b"Authorization", b"X-Other").replace(PULL.encode(), b"/registry/subjects/x")
    with connected(running) as made:
        with suppress(ConnectionError):
            made.sendall(sent)
        answer = heard(made)
    assert ([400], "api.chunks") == (statuses(answer), json.loads(answer.partition(b"\r\n\r\n")[2])["code"])


def test_as_many_chunks_as_their_weight_allows_are_one_body(running: Answering) -> None:
    body = b'{"max": 1}' + b" " * (1024 * 8 - 10)
    large = b"".join(b"400\r\n%s\r\n" % body[at : at + 1024] for at in range(0, len(body), 1024))
    sent = request(running, "Transfer-Encoding: chunked", body=large + b"1\r\n \r\n" * CHUNKS + b"0\r\n\r\n")
    assert [200] == statuses(said(running, sent))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip"])
def test_a_body_that_would_have_to_be_unpacked_is_refused_unread(running: Answering, encoding: str) -> None:
    answer = said(running, request(running, f"Content-Encoding: {encoding}", "Content-Length: 2", body=b"\x1f\x8b"))
    assert [415] == statuses(answer)
    assert "api.encoded" == json.loads(answer.partition(b"\r\n\r\n")[2])["code"]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
    ids=lambda sent: repr(sent[:30]),
)
def test_what_is_no_request_is_refused_and_the_next_client_is_answered(running: Answering, sent: bytes) -> None:
    answer = said(running, sent)
    if answer:
        head, _, body = answer.partition(b"\r\n\r\n")
        told, lines = json.loads(body), head.lower().splitlines()
        code = "api.headers" if len(sent) > 65_536 else "api.http"
        assert (statuses(answer), code) == ([told["status"]], told["code"])
        assert {b"content-type: application/problem+json", b"x-content-type-options: nosniff"} < set(lines)
    assert [200] == statuses(said(running, b"GET /health/live HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n"))


@pytest.mark.parametrize("half", ["head", "body", "nothing"])
def test_who_does_not_end_what_they_began_is_cut_off(running: Answering, half: str) -> None:
    whole = request(running, "Content-Length: 2", body=b"{")
    sent = {"head": whole[:40], "body": whole, "nothing": b""}[half]
    with connected(running) as made:
        made.sendall(sent)
        assert all(status in {400, 408} for status in statuses(heard(made)))  # it ends: the server hung up


def test_a_body_that_drips_is_cut_off_however_long_it_drips(running: Answering) -> None:
    began = time.monotonic()
    with connected(running) as made:
        made.sendall(request(running, "Content-Length: 200000"))
        made.settimeout(0.05)
        dripping = True
        while dripping and time.monotonic() - began < 60:
            try:
                made.sendall(b" ")
                dripping = bool(made.recv(1))
            except TimeoutError:
                continue
            except ConnectionError:
                dripping = False
    assert not dripping


def test_where_connections_are_too_many_the_oldest_that_waits_for_its_client_makes_room(
    running: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "limit", 4)
    with connected(running) as first:
        others = [socket.create_connection(("127.0.0.1", running.port), 20) for _ in range(8)]
        try:
            answer = said(running, b"GET /health/live HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
            assert [200] == statuses(answer)
            assert b"" == heard(first)
        finally:
            for one in others:
                one.close()


def test_more_requests_at_once_than_it_answers_are_told_to_come_again(
    running: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "REQUESTS", 0)
    answer = said(running, b"GET /v1/status HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert ([503], "api.busy") == (statuses(answer), json.loads(body)["code"])
    assert b"retry-after: 5" in head.lower()


IDLE = """
import socket, sys
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60) for _ in range(int(sys.argv[2]))]
print(len(held), flush=True)
sys.stdin.read()
"""


@pytest.mark.proof
def test_ten_thousand_who_say_nothing_keep_nobody_from_being_answered(
    running: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "slow_seconds", 600.0)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = 10_000 if files > 11_000 else files - 1_000
    command = [sys.executable, "-c", IDLE, str(running.port), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as idle:
        assert idle.stdout is not None
        assert f"{count}\n" == idle.stdout.readline()
        for _ in range(20):
            assert [200] == statuses(said(running, request(running, "Content-Length: 2", body=b"{}")))
        idle.communicate("")
    assert count >= 1_000
