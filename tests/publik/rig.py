"""The kit's rig of the connector `publik`: the double of w.c.s., on a port of this machine."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self

from connectors.description import Case
from connectors.kit.rig import Rig
from connectors.publik.connector import PublikConnector
from tests.publik.desk import AGENTS, NOW
from tests.publik.rules import Access, Door
from tests.publik.server import Fault, Handler, half, lost, says, serving
from tests.publik.site import Answered, Form, Site

SLUG = "demenagement"


class Every(deque[Fault | None]):
    """One fault for every request, as long as it stands there."""

    def __init__(self, fault: Fault) -> None:
        super().__init__((fault,))

    def popleft(self) -> Fault | None:
        return self[0]


class PublikRig(Rig):
    """A site with one form, asked by an access that shows its key: what is signed is in `test_publik_submitting`."""

    connector = PublikConnector
    plays = frozenset(
        {
            *(Case.SLOW_PEER, Case.PEER_AWAY, Case.TOO_MANY, Case.WRONG_CREDENTIALS),
            *(Case.TRUNCATED_ANSWER, Case.ANSWER_LOST),
        }
    )
    deadline_s = 1

    def __init__(self, place: Any) -> None:
        super().__init__(place)
        self._away = False
        self._stack = ExitStack()

    async def __aenter__(self) -> Self:
        names = ("reference_source", "name", "phone")
        form = Form(SLUG, [{"type": "string", "varname": name} for name in names], AGENTS, AGENTS)
        site = Site(Door(NOW, [Access("agents", "cle2", AGENTS)]), {SLUG: form})
        self._served = self._stack.enter_context(serving(site))
        (self.place / "key").write_text("cle2", "utf-8")
        (self.place / "key").chmod(0o600)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stack.close()

    def settings(self) -> dict[str, Any]:
        url = "http://127.0.0.1:9" if self._away else self._served.url  # nobody listens on the discard port
        asked = {"access": "agents", "key_file": str(self.place / "key"), "way": "basic"}
        return {
            "url": url,
            "form": SLUG,
            "field": "reference_source",
            "journal": str(self.place / "publik.db"),
            **asked,
        }

    def held(self) -> Sequence[str]:
        return [one.values["name"] for one in self._served.site.forms[SLUG].data]

    def wrong(self) -> Sequence[dict[str, Any]]:
        right = self.settings()
        return (*super().wrong(), right | {"form": "none"}, right | {"field": "none"}, right | {"access": "nobody"})

    @contextmanager
    def inflicted(self, case: Case) -> Iterator[None]:
        over = threading.Event()
        self._away = case is Case.PEER_AWAY
        if not self._away:
            self._served.faults = Every(_fault(case, over))
        try:
            yield
        finally:
            over.set()
            self._away, self._served.faults = False, deque()


def _fault(case: Case, over: threading.Event) -> Fault:
    match case:
        case Case.WRONG_CREDENTIALS:
            return says(403, b'{"err": 1, "err_code": "access-denied"}')
        case Case.TOO_MANY:
            return _on_act(says(429, b"", retry_after="120"))
        case Case.TRUNCATED_ANSWER:
            return _on_act(half, for_good=True)
        case Case.ANSWER_LOST:
            return _on_act(lost)

    def never(handler: Handler, ordinary: Callable[[], Answered]) -> None:
        over.wait()

    return _on_act(never)


def _on_act(wrong: Fault, *, for_good: bool = False) -> Fault:
    """Questions are answered, what is to be done goes wrong; `for_good`: and every question after it."""
    begun: list[bool] = []

    def fault(handler: Handler, ordinary: Callable[[], Answered]) -> Answered | None:
        if handler.command == "POST":
            begun.append(True)
        return wrong(handler, ordinary) if handler.command == "POST" or (for_good and begun) else ordinary()

    return fault
