"""The rig of the connector `rest`: a town's system with an API, on a port of this machine.

Refuses: nothing. Keeps: it needs nothing that is not installed with the agency's side; bad behaviour is the system's.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Final, Self

from connectors.description import Case
from connectors.kit.answering import response
from connectors.kit.rest_system import RestSystem, Wrong, does_and_says, says
from connectors.kit.rig import Rig
from connectors.rest.connector import RestConnector


class RestRig(Rig):
    """A town's system with an API that lets in one token, and remembers the key of each call."""

    connector = RestConnector
    plays = frozenset(
        {
            *(Case.SLOW_PEER, Case.PEER_AWAY, Case.TOO_MANY, Case.WRONG_CREDENTIALS, Case.TRUNCATED_ANSWER),
            *(Case.ANSWER_LOST, Case.UNKNOWN_PERSON, Case.SEVERAL_PERSONS),
        }
    )
    deadline_s = 0.2

    def __init__(self, place: Any) -> None:
        super().__init__(place)
        self.system = RestSystem(shown="Bearer letmein")
        self._away = False

    async def __aenter__(self) -> Self:
        (self.place / "token").write_text("letmein\n", "utf-8")
        self._stack = AsyncExitStack()
        await self._stack.enter_async_context(self.system.serving())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def settings(self) -> dict[str, Any]:
        codes = {"person-unknown": "unknown-person", "person-several": "several-persons"}
        return {
            "url": f"http://127.0.0.1:{9 if self._away else self.system.port}",
            "path": "/moves",
            "auth": {"kind": "bearer", "token": {"file": str(self.place / "token")}},
            "remembers_key": True,
            "code": "/error/code",
            "answers": [{"code": code, "means": means} for code, means in codes.items()],
            "reference": "/id",
            "journal": str(self.place / "rest.db"),
        }

    def held(self) -> Sequence[str]:
        return self.system.names

    def wrong(self) -> Sequence[dict[str, Any]]:
        right = self.settings()
        return (
            *super().wrong(),
            right | {"remembers_key": False},
            right | {"path": "/moves/{nmae}"},
            right | {"auth": {"kind": "bearer", "token": "another"}},
            right | {"url": "http://127.0.0.1:9"},
        )

    @contextmanager
    def inflicted(self, case: Case) -> Iterator[None]:
        self._away, self.system.wrong = case is Case.PEER_AWAY, _REST_WRONGS.get(case)
        try:
            yield
        finally:
            self._away, self.system.wrong = False, None


_REST_WRONGS: Final[Mapping[Case, Wrong]] = {
    Case.SLOW_PEER: lambda request, do: None,
    Case.TOO_MANY: says(429, retry_after="120"),
    Case.WRONG_CREDENTIALS: says(401),
    Case.TRUNCATED_ANSWER: does_and_says(response(201, b'{"id": "M-1"}')[:-4]),
    Case.ANSWER_LOST: does_and_says(b""),
    Case.UNKNOWN_PERSON: says(404, b'{"error": {"code": "person-unknown"}}'),
    Case.SEVERAL_PERSONS: says(409, b'{"error": {"code": "person-several"}}'),
}
