"""The rest connector and its peers, good and bad: what each answer means, and that nothing is done twice or lost."""

import asyncio
import json
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors import trying
from connectors.contract import Applied, Ground, Late, Otherwise, Reject, Retry, Unknown
from connectors.description import check
from connectors.kit.answering import response
from connectors.kit.bench import MOVED, START, TOWN
from connectors.kit.rest_system import RestSystem, Wrong, acts, does_and_says, says
from connectors.memory import Memory
from connectors.rehearsal import Rehearsal
from connectors.rest.connector import RestConnector
from schemas.delivery import VerifiedDelivery
from schemas.errors import Fault, Refused
from schemas.names import Instant, Reason, uuid_text
from schemas.samples import sample
from tests.announced import announce
from tests.services import certificates

pytestmark = pytest.mark.asyncio
TARGETS = ("name", "number")
FIND = {"path": "/moves?ref={delivery_id}", "entries": "/items"}


class Desk:
    """A system, and the connector towards it."""

    def __init__(self, place: Path) -> None:
        self.place, self.now, self.drawn = place, START, 0
        self.system = RestSystem()
        self.rehearsal = Rehearsal(TOWN, lambda: self.now, self.bytes)
        self.delivery = self.another()
        self.scheme = "http"

    def bytes(self, size: int) -> bytes:
        self.drawn += 1
        return (self.drawn.to_bytes(4, "big") * size)[:size]

    def another(self) -> VerifiedDelivery:
        return self.rehearsal.verified(self.rehearsal.declare(MOVED, sample(MOVED), ("subject",)))

    def settings(self, **more: Any) -> dict[str, Any]:
        url = f"{self.scheme}://127.0.0.1:{self.system.port}"
        known = {"path": "/moves", "remembers_key": True, "reference": "/id", "journal": str(self.place / "rest.db")}
        return {"url": url, **known, **more}

    @asynccontextmanager
    async def opened(self, **more: Any) -> AsyncIterator[RestConnector]:
        ground = Ground(lambda: self.now, self.bytes)
        async with self.system.serving():
            connector = await RestConnector.open(self.settings(**more), TARGETS, ground)
            try:
                yield connector
            finally:
                await connector.close()

    async def write(self, connector: RestConnector, **row: object) -> str | None:
        return await connector.write(self.delivery, {"name": "Aubin", **row})

    async def checked(self, **more: Any) -> list[tuple[str, str]]:
        found = await check(RestConnector, self.settings(**more), TARGETS, Ground(lambda: self.now, self.bytes))
        return [(one.code, one.pointer) for one in found]

    @property
    def noted(self) -> bool:
        """Whether the journal knows the delivery. The connector has to be closed."""
        memory = Memory.open(self.place / "rest.db")
        try:
            return memory.of(self.delivery.delivery_id) is not None
        finally:
            memory.close()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


JSON = b'{"error": {"code": "Zzyzx"}}'
PEERS: list[tuple[str, Wrong, type[Fault], str, int | None]] = [
    ("a page in place of JSON", does_and_says(response(200, b"<html>", content_type="text/html")),
     Unknown, "rest.no-json", None),
    ("no body where a number is awaited", does_and_says(response(200)), Unknown, "rest.no-json", None),
    ("half an answer", does_and_says(response(201, b'{"id": "M-1"}')[:-3]), Unknown, "rest.unanswered", None),
    ("JSON cut off", does_and_says(response(201, b'{"id": "M-')), Unknown, "rest.no-json", None),
    ("another charset", does_and_says(response(200, '{"id": "é"}'.encode("latin-1"))), Unknown, "rest.charset", None),
    ("over the limit", does_and_says(response(200, b" " * 1_048_577)), Unknown, "rest.too-long", None),
    ("deep JSON", does_and_says(response(200, b"[" * 100_000)), Unknown, "rest.no-json", None),
    ("cut before the answer", does_and_says(b""), Unknown, "rest.unanswered", None),
    ("no HTTP", does_and_says(b"220 mail.ville.example ESMTP\r\n\r\n"), Unknown, "rest.unanswered", None),
    ("elsewhere", says(307, location="http://127.0.0.1:9/"), Unknown, "rest.redirect", None),
    ("a sign-in page", says(302, location="/login"), Unknown, "rest.redirect", None),
    ("a failure", says(500, JSON), Unknown, "rest.failed", None),
    ("a failure of a proxy", says(502, b"<html>"), Unknown, "rest.failed", None),
    ("in maintenance", says(503, b"<html>"), Unknown, "rest.failed", None),
    ("in maintenance, until", says(503, retry_after="60"), Retry, "rest.busy", 60_000),
    ("too many", says(429, retry_after="120"), Retry, "rest.busy", 120_000),
    ("too many, until a date", says(429, retry_after="Mon, 02 Nov 2026 09:01:00 GMT"), Retry, "rest.busy", 60_000),
    ("too many, no word when", says(429), Retry, "rest.busy", 0),
    ("not let in", says(401), Retry, "rest.not-let-in", None),
    ("no right", says(403, JSON), Retry, "rest.not-let-in", None),
    ("no such path", says(404, JSON), Retry, "rest.not-now", None),
    ("a conflict", says(409, JSON), Unknown, "rest.conflict", None),
    ("data that it does not want", says(422, JSON), Reject, "rest.refused", None),
    ("a wrong request", says(400, JSON), Reject, "rest.refused", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "kind", "code", "after_ms"), [one[1:] for one in PEERS], ids=[one[0] for one in PEERS]
)
async def test_a_bad_answer_has_its_end_and_nothing_is_done_twice(
    desk: Desk, wrong: Wrong, kind: type[Fault], code: str, after_ms: int | None
) -> None:
    desk.system.wrong = wrong
    async with desk.opened(code="/error/code") as connector:
        with pytest.raises(kind) as told:
            await desk.write(connector)
        assert (kind, code, after_ms) == (type(told.value), told.value.code, getattr(told.value, "after_ms", None))
        assert "Zzyzx" not in f"{told.value!r}{told.value}{told.value.details}"
    assert (kind is Unknown) == desk.noted
    desk.system.wrong = None
    async with desk.opened() as connector:
        assert "M-1" == await desk.write(connector)
        assert Applied("M-1") == await connector.find(desk.delivery.delivery_id)
    assert ["Aubin"] == desk.system.names


async def test_an_answer_that_never_comes_is_late_and_not_said_to_be_undone(desk: Desk) -> None:
    desk.system.wrong = lambda request, do: (do(), None)[1]
    async with desk.opened(timeout_s=0.05) as connector:
        with pytest.raises(Late, match=r"rest.late"):
            await desk.write(connector)
    assert desk.noted


async def test_a_server_that_is_away_was_not_asked(desk: Desk) -> None:
    async with desk.opened(url="http://127.0.0.1:9") as connector:
        with pytest.raises(Retry, match=r"rest.away"):
            await desk.write(connector)
    assert not desk.noted


RULES = [
    {"status": 404, "code": "person-unknown", "means": "unknown-person"},
    {"code": "7", "means": "several-persons"},
    {"status": 424, "means": "document-needed"},
    {"status": 202, "means": "awaiting-human", "days": 30},
    {"status": 409, "means": "already-there"},
    {"code": "closed", "means": "rejected"},
    {"status": 422, "code": "wait", "means": "retry"},
]


@pytest.mark.parametrize(
    ("status", "told", "end"),
    [
        (404, {"code": "person-unknown"}, (Reason.UNKNOWN_PERSON, None)),
        (200, {"code": 7}, (Reason.SEVERAL_PERSONS, None)),
        (424, {}, (Reason.DOCUMENT_NEEDED, None)),
        (202, {}, (Reason.AWAITING_HUMAN, "2026-12-02")),
        (409, {"id": 12}, "12"),
        (201, {"id": "A"}, "A"),
        (500, {"code": "closed"}, "rest.refused"),
        (422, {"code": "wait"}, "rest.not-now"),
        (404, {"code": "other"}, "rest.not-now"),
    ],
)
async def test_an_answer_means_what_the_table_says(desk: Desk, status: int, told: dict[str, Any], end: Any) -> None:
    desk.system.wrong = says(status, json.dumps(told).encode())
    found: Any
    async with desk.opened(code="/code", answers=RULES) as connector:
        try:
            found = await desk.write(connector)
        except Otherwise as fault:
            found = (fault.outcome.reason, fault.outcome.until)  # type: ignore[union-attr]
        except (Reject, Retry) as fault:
            found = fault.code
    assert (end, isinstance(end, str) and "." not in end) == (found, desk.noted)


@pytest.mark.parametrize(
    ("ok", "answer", "code"),
    [
        ({"at": "/err", "equals": 0}, b'{"err": 0, "id": "A"}', None),
        ({"at": "/err", "equals": 0}, b'{"err": 1}', "rest.not-ok"),
        ({"at": "/err", "equals": 0}, b'{"err": false}', "rest.not-ok"),
        ({"at": "/done/0", "equals": "yes"}, b'{"done": ["yes"]}', None),
        ({"at": "/done", "equals": True}, b"[]", "rest.not-ok"),
    ],
)
async def test_an_error_inside_of_a_200_is_no_success(desk: Desk, ok: Any, answer: bytes, code: str | None) -> None:
    desk.system.wrong = says(200, answer)
    async with desk.opened(ok=ok) as connector:
        if code is None:
            await desk.write(connector)
        else:
            with pytest.raises(Unknown, match=code):
                await desk.write(connector)


async def test_where_looking_is_all_there_is_a_lost_call_is_found_and_not_made_again(desk: Desk) -> None:
    desk.system.remembers = False
    desk.system.wrong = acts(does_and_says(b""))
    async with desk.opened(remembers_key=False, find=FIND) as connector:
        with pytest.raises(Unknown):
            await desk.write(connector)
        assert Applied("M-1") == await connector.find(desk.delivery.delivery_id)
        assert "M-1" == await desk.write(connector)
    assert ["Aubin"] == desk.system.names


async def test_where_looking_is_all_there_is_a_call_that_may_be_at_work_is_waited_for(desk: Desk) -> None:
    desk.system.remembers = False
    desk.system.wrong = acts(lambda request, do: b"")
    async with desk.opened(remembers_key=False, find=FIND) as connector:
        with pytest.raises(Unknown):
            await desk.write(connector)
        desk.system.wrong, desk.now = None, Instant(START + 119_000)
        with pytest.raises(Retry, match=r"rest.may-arrive") as told:
            await desk.write(connector)
        assert (1_000, []) == (told.value.after_ms, desk.system.names)
        desk.now = Instant(START + 120_000)
        await desk.write(connector)
    assert ["Aubin"] == desk.system.names


@pytest.mark.parametrize("more", [{"find": FIND}, {"find": FIND, "remembers_key": False}])
@pytest.mark.parametrize("wrong", [says(500), says(401), says(200, b"<html>"), says(302), lambda request, do: b""])
async def test_a_look_that_fails_says_neither_yes_nor_no(desk: Desk, more: dict[str, Any], wrong: Wrong) -> None:
    desk.system.wrong = does_and_says(b"")
    async with desk.opened(**more) as connector:
        with pytest.raises(Unknown):
            await desk.write(connector)
        desk.system.wrong = wrong
        with pytest.raises(Retry):
            await connector.find(desk.delivery.delivery_id)
        with pytest.raises(Retry):
            await desk.write(connector)
    assert (["Aubin"], True) == (desk.system.names, desk.noted)


@pytest.mark.parametrize("row", [{"name": "Other"}, {"name": ["a"]}])
async def test_what_may_have_been_done_is_not_refused_for_a_mapping_that_has_changed(desk: Desk, row: Any) -> None:
    """The key is known with another body (422), or the row does not fit any more."""
    desk.system.wrong = does_and_says(b"")
    async with desk.opened() as connector:
        with pytest.raises(Unknown):
            await desk.write(connector)
        desk.system.wrong = None
        with pytest.raises(Retry, match=r"rest.doubt"):
            await desk.write(connector, **row)
    assert (["Aubin"], True) == (desk.system.names, desk.noted)


async def test_one_that_remembers_keys_speaks_for_the_first_call_as_well(desk: Desk) -> None:
    desk.system.wrong = does_and_says(b"")
    async with desk.opened(answers=[{"status": 404, "means": "unknown-person"}]) as connector:
        with pytest.raises(Unknown):
            await desk.write(connector)
        desk.system.wrong = says(404)
        with pytest.raises(Otherwise):
            await desk.write(connector)
    assert not desk.noted


async def test_a_429_after_a_lost_answer_does_not_forget_that_it_may_be_done(desk: Desk) -> None:
    desk.system.wrong = does_and_says(b"")
    async with desk.opened() as connector:
        for wrong in (desk.system.wrong, says(429)):
            desk.system.wrong = wrong
            with pytest.raises((Unknown, Retry)):
                await desk.write(connector)
    assert desk.noted


async def test_put_under_the_deliverys_id_is_done_once_by_itself(desk: Desk) -> None:
    desk.system.remembers = False
    desk.system.wrong = does_and_says(b"")
    put = {"method": "PUT", "path": "/moves/{delivery_id}", "remembers_key": False, "body": {"name": "{name}"}}
    async with desk.opened(**put) as connector:
        with pytest.raises(Unknown):
            await desk.write(connector)
        desk.system.wrong = None
        assert uuid_text(desk.delivery.delivery_id) == await desk.write(connector)
    assert ["Aubin"] == desk.system.names


async def test_the_call_carries_the_deliverys_id_the_fixed_headers_and_the_template(desk: Desk) -> None:
    desk.system.persons = {"é 1": {}}
    more = {"method": "PATCH", "path": "/persons/{number}", "body": {"to": {"n": "{name}"}}, "headers": {"X-Key": "k"}}
    async with desk.opened(**more) as connector:
        desk.system.wrong = lambda request, do: (do(), response(200, b'{"id": 5}'))[1]
        assert "5" == await desk.write(connector, number="é 1")
    (asked,) = desk.system.asked
    sent = (asked.target, asked.headers["x-key"], asked.headers["idempotency-key"], json.loads(asked.body))
    assert ("/persons/%C3%A9%201", "k", uuid_text(desk.delivery.delivery_id), {"to": {"n": "Aubin"}}) == sent


async def test_a_token_is_fetched_once_for_many_and_renewed_before_it_ends_and_after_a_401(desk: Desk) -> None:
    desk.system.client = ("pont", "s:é")
    auth = {"kind": "oauth2", "client_id": "pont", "client_secret": "s:é", "scope": "moves"}
    async with desk.opened() as _:
        pass
    async with desk.system.serving():
        told = desk.settings(auth={**auth, "token_url": f"http://127.0.0.1:{desk.system.port}/oauth/token"})
        desk.system.client = ("pont", "s%3A%C3%A9")  # RFC 6749, 2.3.1: encoded before it is joined
        connector = await RestConnector.open(told, TARGETS, Ground(lambda: desk.now, desk.bytes))
        shown = await asyncio.gather(*(connector._api._access.shown() for _ in range(4)))
        assert ["Bearer token-1"] * 4 == shown
        await asyncio.gather(*(connector.write(desk.another(), {"name": name}) for name in "abcd"))
        assert (1, list("abcd")) == (desk.system.tokens, sorted(desk.system.names))
        desk.now = Instant(desk.now + 3_569_000)
        await connector.write(desk.another(), {"name": "e"})
        assert 1 == desk.system.tokens
        desk.now = Instant(desk.now + 1_000)
        await connector.write(desk.another(), {"name": "f"})
        assert 2 == desk.system.tokens
        desk.system.tokens = 7  # a restart: the token is not known any more
        await connector.write(desk.another(), {"name": "g"})
        assert (8, 7) == (desk.system.tokens, len(desk.system.names))
        await connector.close()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (says(401), "rest.token-refused"),
        (says(500), "rest.token"),
        (says(302, location="/"), "rest.token"),
        (says(200, b"<html>"), "rest.token"),
        (says(200, b'{"access_token": "a\\nb"}'), "rest.token"),
        (lambda request, do: b"", "rest.token"),
    ],
)
async def test_without_a_token_nothing_is_asked(desk: Desk, wrong: Wrong, code: str) -> None:
    desk.system.wrong = wrong
    async with desk.system.serving():
        url = f"http://127.0.0.1:{desk.system.port}/oauth/token"
        auth = {"kind": "oauth2", "token_url": url, "client_id": "pont", "client_secret": "Zzyzx"}
        connector = await RestConnector.open(desk.settings(auth=auth), TARGETS, Ground(lambda: desk.now, desk.bytes))
        with pytest.raises(Retry) as told:
            await desk.write(connector)
        await connector.close()
    assert (code, {"/oauth/token"}, False) == (told.value.code, {one.target for one in desk.system.asked}, desk.noted)
    assert "Zzyzx" not in f"{told.value!r}{told.value.details}"


async def test_a_password_is_shown_as_basic(desk: Desk) -> None:
    desk.system.shown = f"Basic {b64encode('pont:é:x'.encode()).decode()}"
    async with desk.opened(auth={"kind": "basic", "user": "pont", "password": "é:x"}) as connector:
        assert "M-1" == await desk.write(connector)


@pytest.mark.parametrize(
    ("made", "trusted", "why"),
    [
        ({}, True, None),
        ({}, False, "unknown"),
        ({"since": timedelta(days=3)}, True, "expired"),
        ({"name": "autre.example"}, True, "other-name"),
    ],
)
async def test_a_certificate_is_believed_or_told_why_not(
    desk: Desk, tmp_path: Path, made: dict[str, Any], trusted: bool, why: str | None
) -> None:
    whole, ca = certificates.make(tmp_path, **made)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(whole)
    desk.scheme = "https"
    async with desk.system.serving(context):
        settings = desk.settings(**({"ca_file": str(ca)} if trusted else {}))
        connector = await RestConnector.open(settings, TARGETS, Ground(lambda: desk.now, desk.bytes))
        if why is None:
            assert "M-1" == await desk.write(connector)
        else:
            with pytest.raises(Retry, match=r"rest.certificate") as told:
                await desk.write(connector)
            assert {"why": why} == told.value.details
        await connector.close()
    assert (why is None) == desk.noted


@asynccontextmanager
async def turning_away(system: RestSystem, context: ssl.SSLContext) -> AsyncIterator[None]:
    """A server that says in TLS's own words why it ends a connection, as OpenSSL's do; asyncio's says nothing."""
    over: list[asyncio.Future[None]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        speaking, asked = context.wrap_bio(came, goes, server_side=True), True
        while asked:
            try:
                speaking.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                asked = False
            writer.write(goes.read())
            if asked:
                came.write(await reader.read(65_536))
        writer.write_eof()
        await reader.read()  # what is not read would reset the connection, and the alert might be lost
        writer.close()

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over.append(asyncio.ensure_future(talk(reader, writer)))

    server = await asyncio.start_server(taken, "127.0.0.1", 0)
    system.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()
        await asyncio.gather(*over)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", ["ours", "foreign", None])
async def test_the_programs_own_certificate_lets_it_in(
    desk: Desk, tmp_path: Path, version: ssl.TLSVersion, shown: str | None
) -> None:
    for name in ("server", "ours", "foreign"):
        (tmp_path / name).mkdir()
        certificates.make(tmp_path / name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server" / "server.pem")
    context.load_verify_locations(tmp_path / "ours" / "ca.pem")
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, version
    own = {} if shown is None else dict.fromkeys(("certificate_file", "key_file"), tmp_path / shown / "server.pem")
    desk.scheme = "https"
    serving = desk.system.serving(context) if shown == "ours" else turning_away(desk.system, context)
    async with serving:
        settings = desk.settings(ca_file=str(tmp_path / "server" / "ca.pem"), **own)
        connector = await RestConnector.open(settings, TARGETS, Ground(lambda: desk.now, desk.bytes))
        if shown == "ours":
            assert "M-1" == await desk.write(connector)
        else:
            with pytest.raises(Retry, match=r"rest.client-certificate"):
                await desk.write(connector)
        await connector.close()
    assert (shown == "ours") == desk.noted


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, []),
        ({"remembers_key": False}, [("rest.at-least-once", "/at_least_once")]),
        ({"remembers_key": False, "at_least_once": True}, []),
        ({"remembers_key": False, "answers": [{"status": 409, "means": "already-there"}]}, []),
        ({"path": "/moves/{nam}"}, [("rest.unknown-column", "/path")]),
        ({"body": {"a": ["{nam}"]}}, [("rest.unknown-column", "/body")]),
        ({"path": "/../moves"}, [("connector.settings", "/path")]),
        ({"url": "http://api.ville.example"}, [("connector.settings", "/url")]),
        ({"headers": {"Authorization": "x"}}, [("connector.settings", "")]),
        ({"headers": {"X\r\nY": "x"}}, [("connector.settings", "/headers/X\r\nY")]),
        ({"find": {"path": "/moves?name={name}"}}, [("connector.settings", "/find")]),
        ({"answers": [{"code": "x", "means": "retry"}]}, [("connector.settings", "")]),
        ({"answers": [{"status": 202, "means": "awaiting-human"}]}, [("connector.settings", "/answers/0")]),
        ({"certificate_file": "none.pem", "key_file": "none.pem"}, [("rest.certificate-file", "/certificate_file")]),
        ({"auth": {"kind": "bearer", "token": "wrong"}}, [("rest.not-let-in", "/auth")]),
        ({"auth": {"kind": "bearer", "token": "wrong"}, "find": FIND}, [("rest.not-let-in", "")]),
        ({"auth": {"kind": "bearer", "token": {"file": "/none"}}}, [("connector.settings", "/auth/token")]),
        ({"url": "http://127.0.0.1:9"}, [("rest.away", "")]),
    ],
)
async def test_check_tells_what_is_wrong_and_changes_nothing(desk: Desk, more: Any, found: Any) -> None:
    desk.system.shown = None if "auth" not in more else "Bearer right"
    async with desk.system.serving():
        assert found == await desk.checked(**more)
    assert ([], []) == (desk.system.moves, list(desk.place.iterdir()))


async def test_a_column_may_not_take_the_name_of_the_deliverys_id(desk: Desk) -> None:
    with pytest.raises(Refused, match=r"rest.reserved"):
        await RestConnector.open(desk.settings(), ("delivery_id",), Ground(lambda: desk.now, desk.bytes))


async def test_the_check_of_a_file_says_aloud_that_something_may_be_there_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(monkeypatch)
    routes = [
        {"mapping": "commune-table", "connector": "rest", "settings": desk.settings(url="http://127.0.0.1:9", **more)}
        for more in ({}, {"remembers_key": False, "at_least_once": True})
    ]
    (desk.place / "town.yaml").write_text(json.dumps({"routes": routes}))
    found = await asyncio.to_thread(trying.checked_file, desk.place / "town.yaml")
    said = [line for line in trying.found_lines(found, "fr") if line.startswith("    !")]
    assert ["", False] == [trying.problems(found, "en")[0]["weaker"], trying.problems(found, "en")[1]["weaker"] == ""]
    assert (1, True) == (len(said), "deux fois" in said[0])
