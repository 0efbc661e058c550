"""Rigs of the connectors that come with this program: a folder, an SQLite database, an HTTP server on this machine.

Refuses: nothing. Keeps: bad behaviour is the system's own where that can be had (a folder that is away, an answer that
breaks off); else it is put just behind the connector, at the call that reaches the system.
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, ClassVar, Final, Self
from unittest.mock import patch

from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors import table
from connectors.description import Case
from connectors.file.connector import FileConnector
from connectors.journal import Journal
from connectors.kit.answering import Answering, Request, response
from connectors.kit.rig import Rig
from connectors.webhook import WebhookConnector

WEBHOOK_KEY: Final = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


class FileRig(Rig):
    """A folder, with its journal in another one, as where an agency's program clears the folder."""

    connector = FileConnector
    plays = frozenset({Case.PEER_AWAY, Case.ANSWER_LOST})

    async def __aenter__(self) -> Self:
        (self.place / "out").mkdir()
        return self

    def settings(self) -> dict[str, Any]:
        return {"folder": str(self.place / "out"), "journal": str(self.place / "journal.sqlite")}

    def held(self) -> Sequence[str]:
        files = sorted((self.place / "out").glob("*.csv"))
        return [line.split(";")[0] for file in files for line in file.read_text("utf-8").splitlines()[1:]]

    def wrong(self) -> Sequence[dict[str, Any]]:
        return (*super().wrong(), self.settings() | {"folder": str(self.place / "none")})

    @contextmanager
    def inflicted(self, case: Case) -> Iterator[None]:
        if case is Case.PEER_AWAY:
            (self.place / "out").rename(self.place / "gone")
            try:
                yield
            finally:
                (self.place / "gone").rename(self.place / "out")
        else:  # the file has its name, and the disk fails before that is noted
            with patch.object(Journal, "publish", side_effect=sqlite3.OperationalError("disk I/O error")):
                yield


class TableRig(Rig):
    """An SQLite database of a town."""

    connector = table.TableConnector
    plays = frozenset({Case.SLOW_PEER, Case.PEER_AWAY, Case.ANSWER_LOST, Case.UNKNOWN_PERSON, Case.SEVERAL_PERSONS})
    spared: ClassVar = {
        Case.WRONG_CREDENTIALS: {
            "en": "SQLite has no password; on a server's database it is `table.away`.",
            "fr": "SQLite n'a pas de mot de passe ; sur une base de serveur, c'est `table.away`.",
        }
    }
    deadline_s = 0.2

    def __init__(self, place: Any) -> None:
        super().__init__(place)
        self._mode: dict[str, Any] = {"mode": "insert"}
        (place / "data").mkdir()

    async def __aenter__(self) -> Self:
        self._do("CREATE TABLE moves (id INTEGER PRIMARY KEY, name TEXT NOT NULL, phone TEXT)")
        self._do(
            "CREATE TABLE unefois_inbox (delivery_id VARCHAR(36) PRIMARY KEY, source VARCHAR(80) NOT NULL,"
            " declaration_id VARCHAR(36) NOT NULL, manifest_digest VARCHAR(64) NOT NULL, reference VARCHAR(200),"
            " applied_at VARCHAR(24) NOT NULL)"
        )
        return self

    def settings(self) -> dict[str, Any]:
        # A lock is not waited for, or a case would take five seconds.
        url = f"sqlite+aiosqlite:///{self.place / 'data' / 'town.db'}?timeout=0"
        return {"url": url, "table": "moves", **self._mode}

    def held(self) -> Sequence[str]:
        return [name for (name,) in self._do("SELECT name FROM moves ORDER BY id")]

    def wrong(self) -> Sequence[dict[str, Any]]:
        return (*super().wrong(), self.settings() | {"table": "move"}, self.settings() | {"mode": "upsert"})

    @contextmanager
    def inflicted(self, case: Case) -> Iterator[None]:
        if case is Case.PEER_AWAY:
            (self.place / "data").rename(self.place / "gone")
            try:
                yield
            finally:
                (self.place / "gone").rename(self.place / "data")
        elif case is Case.SLOW_PEER:
            with patch.object(table, "_commit", _never):
                yield
        elif case is Case.ANSWER_LOST:
            with patch.object(table, "_commit", _committed_and_lost):
                yield
        else:
            self._mode = {"mode": "update", "key": ["name"]}
            if case is Case.SEVERAL_PERSONS:
                self._do("INSERT INTO moves (name) VALUES ('Aubin'), ('Aubin')")
            yield

    def _do(self, statement: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.place / "data" / "town.db")
        try:
            with connection:
                return connection.execute(statement).fetchall()
        finally:
            connection.close()


async def _never(_: AsyncConnection) -> None:
    await asyncio.Event().wait()


async def _committed_and_lost(connection: AsyncConnection) -> None:
    await connection.commit()
    raise OperationalError("COMMIT", {}, ConnectionResetError(), connection_invalidated=True)


class WebhookRig(Rig):
    """An HTTP server on this machine, which remembers the ids of what it has heard."""

    connector = WebhookConnector
    plays = frozenset(
        {
            *(Case.SLOW_PEER, Case.PEER_AWAY, Case.TOO_MANY, Case.WRONG_CREDENTIALS),
            *(Case.TRUNCATED_ANSWER, Case.ANSWER_LOST),
        }
    )

    def __init__(self, place: Any) -> None:
        super().__init__(place)
        self._receiver = _Receiver()

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        await self._stack.enter_async_context(self._receiver.serving())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def settings(self) -> dict[str, Any]:
        port = 9 if self._receiver.case is Case.PEER_AWAY else self._receiver.port  # nobody is on the discard port
        return {"url": f"http://127.0.0.1:{port}/hear", "keys": [WEBHOOK_KEY], "timeout_s": 0.2}

    def held(self) -> Sequence[str]:
        return ["Aubin" for _ in self._receiver.heard]

    def wrong(self) -> Sequence[dict[str, Any]]:
        return (*super().wrong(), self.settings() | {"keys": ["whsk_none"]}, self.settings() | {"url": "http://a.fr"})

    @contextmanager
    def inflicted(self, case: Case) -> Iterator[None]:
        self._receiver.case = case
        try:
            yield
        finally:
            self._receiver.case = None


class _Receiver(Answering):
    def __init__(self) -> None:
        self.case: Case | None = None
        self.heard: dict[str, str] = {}

    def answered(self, request: Request) -> bytes | None:
        if self.case in {None, Case.ANSWER_LOST, Case.TRUNCATED_ANSWER}:
            self.heard[request.headers["webhook-id"]] = request.headers["webhook-timestamp"]
        match self.case:
            case Case.SLOW_PEER:
                return None
            case Case.TOO_MANY:
                return response(429, retry_after="120")
            case Case.WRONG_CREDENTIALS:
                return response(401)
            case Case.TRUNCATED_ANSWER:
                return b"HTTP/1.1 20"
            case Case.ANSWER_LOST:
                return b""
        return response(204)
