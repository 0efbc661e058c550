"""Publik calls: a workflow hands a form over, which becomes a declaration; a page asks for a list or for what became.

    POST /publik/<name>/                 the form, by "Appel d'un webservice"; declared once by its uuid
    GET  /publik/<name>/?uuid=..         what became of it, as a list of one entry for each thing to say
    GET  /publik/lists/<list>/?id=&q=    a list source
    GET  /publik/up                      whether this runs; not signed

    200  {"err": 0, "data": {"declaration", "state"}}           kept here, whatever happens to the broker
    4xx  {"err": 1, "err_class", "err_desc", "data": null}      not taken, and why; w.c.s. stops there by its defaults
    503  the same                                               nothing was kept: call again

Refuses: a call that is not signed with a key of the file's, that is late, or that came before; a body over 2 MiB.
Keeps: answered with `err` 0, it is on the disk; asked for twice, it is declared once. Nothing is called back inside the
call: w.c.s. would answer 403. The body is covered by no signature: TLS is the administrator's, and needed.
Source: the facts of w.c.s. and of passerelle in docs/connectors/publik.md.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.mapping import Direction, Scalar
from connectors.mapping import Mapping as MappingFile
from connectors.outbox import Item
from connectors.publik import lists, signing
from connectors.sidecar import Receive, Scope, Send, json_body, problem_of
from connectors.source_desk import SourceDesk
from schemas.errors import Fault, Refused, Unavailable
from schemas.messages import Language, explain
from schemas.names import Instant, uuid_text

BODY_BYTES: Final = 2 * 1024 * 1024
PATIENCE_SECONDS: Final = 10.0
"""How long the broker is waited for inside the call; w.c.s. waits for 28 seconds."""
TOLD: Final = 10
"""Most faults of one form that are told: w.c.s. keeps 10,000 bytes of a bad answer."""
_UUID: Final = re.compile(r"[0-9A-Za-z-]{8,64}")
_STATUS: Final[Mapping[str, int]] = {
    "publik.signature": 403,
    "publik.late": 403,
    "publik.again": 403,
    "sidecar.no-route": 404,
    "publik.no-list": 404,
    "publik.no-declaration": 404,
    "publik.changed": 409,
    "sidecar.too-large": 413,
    "sidecar.media-type": 415,
    "sidecar.json": 400,
    "publik.uuid": 400,
}
_STATES: Final[Mapping[str, tuple[str, str]]] = {
    "waiting": ("Kept; it is handed to the broker as soon as it can be reached.",
                "Conservée ; elle est remise au courtier dès qu'il est joignable."),
    "parked": ("Kept; the operator of this programme has something to mend.",
               "Conservée ; l'exploitant de ce programme a quelque chose à régler."),
    "received": ("Declared; the broker has it.", "Déclarée ; le courtier l'a reçue."),
    "refused": ("Refused by the broker.", "Refusée par le courtier."),
}  # fmt: skip

_PROGRESS: Final[Mapping[str, tuple[str, str]]] = {
    "sent": ("sent to {} administrations", "transmise à {} administrations"),
    "received": ("received by {}", "reçue par {}"),
    "in-progress": ("being dealt with by {}", "en cours chez {}"),
    "done": ("applied by {}", "traitée par {}"),
    "refused": ("refused by {}", "refusée par {}"),
    "to-complete": ("to be completed for {}", "à compléter pour {}"),
    "technical": ("held up by a technical problem at {}", "arrêtée par un problème technique chez {}"),
}


@dataclass(frozen=True, slots=True)
class Way:
    """How the form of one name becomes a declaration."""

    mapping: MappingFile
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    provenance: Mapping[str, str] | None = None

    def asked(self, document: object) -> dict[str, Any]:
        """What the desk is asked for. Raises Refused `mapping.*`."""
        told: dict[str, Any] = {"event_type": str(self.mapping.event_type)}
        told["record"] = self.mapping.apply(document, self.parameters)
        return told if self.provenance is None else told | {"provenance": dict(self.provenance)}


def checked_way(way: Way) -> Way:
    """The same. Raises Refused `publik.mapping-type`."""
    if way.mapping.direction is not Direction.IN:
        raise Refused("publik.mapping-type", "/forms", mapping=way.mapping.name)
    return way


class Inbound:
    """An ASGI app. `keys`: the key of each host of Publik's, as its automatic signature names it; that of "" is typed
    into the action of a workflow.
    """

    def __init__(
        self,
        desk: SourceDesk,
        ways: Mapping[str, Way],
        keys: Mapping[str, str],
        language: Language,
        *,
        clock: Callable[[], Instant],
        patience_s: float = PATIENCE_SECONDS,
    ) -> None:
        self._desk = desk
        self._ways = ways
        self._keys = keys
        self._language: Language = language
        self._clock = clock
        self._patience_s = patience_s
        self._nonces = signing.Nonces()
        self._at_work: set[asyncio.Task[Item]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            status, told = await self._routed(scope, receive)
        except Fault as fault:
            status = 503 if isinstance(fault, Unavailable) else _STATUS.get(fault.code, 422)
            told = self._failed(fault)
        except Exception as error:
            # Broad on purpose: what an exception says may hold a value; it is told by its kind.
            status, told = 500, self._failed(Fault("sidecar.unexpected", kind=type(error).__name__))
        await _answer(send, status, told)

    async def _routed(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any]]:
        method, parts = scope["method"], str(scope["path"]).strip("/").split("/")
        if (method, parts) == ("GET", ["publik", "up"]):
            return 200, {"err": 0}
        query = signing.verify(bytes(scope["query_string"]).decode("latin-1"), self._keys, self._clock(), self._nonces)
        match (method, *parts):
            case ("GET", "publik", "lists", *name) if name:
                return 200, {"err": 0, "data": lists.entries("/".join(name), query, self._language)}
            case ("POST", "publik", name) if name in self._ways:
                return await self._declare(name, scope, receive)
            case ("GET", "publik", name) if name in self._ways:
                return 200, {"err": 0, "data": await self._followed(name, query.get("uuid", ""))}
        raise Refused("sidecar.no-route")

    async def _declare(self, name: str, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any]]:
        headers = {one.decode("latin-1").lower(): value.decode("latin-1") for one, value in scope["headers"]}
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused("sidecar.media-type")
        document = await json_body(receive, BODY_BYTES)
        key = _key(name, document.get("uuid") if isinstance(document, dict) else None)
        try:
            item = self._desk.accept(self._ways[name].asked(document), key)
        except Refused as fault:
            if fault.code == "outbox.key-reused":
                raise Refused("publik.changed") from None
            raise
        # Crash here: it is kept, and Publik was not told so; it calls again by the same uuid, and finds it.
        if item.state == "waiting":
            item = await self._published(item)
        if item.state == "refused":
            return 422, self._refused(item)
        return 200, {"err": 0, "data": {"declaration": uuid_text(item.declaration_id), "state": item.state}}

    async def _published(self, item: Item) -> Item:
        """What the broker says of it, if it says so soon; else it goes on without the caller."""
        task = asyncio.ensure_future(self._desk.publish(item.declaration_id))
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        done, _ = await asyncio.wait({task}, timeout=self._patience_s)
        return task.result() if done else item

    async def _followed(self, name: str, uuid: str) -> list[dict[str, Any]]:
        """One entry for what became of the declaration here, and one for each state at the administrations."""
        item = self._desk.keyed(_key(name, uuid))
        if item is None:
            raise Refused("publik.no-declaration")
        chosen = self._language == "fr"
        own = {"id": item.state, "text": _STATES[item.state][chosen]}
        shown: list[dict[str, Any]] = [own | {"declaration": uuid_text(item.declaration_id)}]
        counts: object = None
        if item.state == "received":
            with suppress(Fault):  # the broker is away: what is known here is said
                counts = (await self._desk.follow(item.declaration_id)).get("deliveries")
        told = counts if isinstance(counts, Mapping) else {}
        for state, count in ((one, told[one]) for one in _PROGRESS if isinstance(told.get(one), int) and told[one]):
            shown.append({"id": state, "text": _PROGRESS[state][chosen].format(count), "count": count})
        return shown

    def _failed(self, fault: Fault) -> dict[str, Any]:
        """What an agent reads in Publik: each fault's place, what is wrong and what to do."""
        faults = (fault, *fault.also)[:TOLD]
        sentences = [explain(one, self._language) for one in faults]
        places = [f"{one.pointer}: " if one.pointer else "" for one in faults]
        text = "\n".join(f"{place}{one.wrong} {one.remedy}" for place, one in zip(places, sentences, strict=True))
        return {"err": 1, "err_class": fault.code, "err_desc": text, "data": None}

    def _refused(self, item: Item) -> dict[str, Any]:
        """What the broker refused it for, in its words or in ours."""
        told = problem_of(item, self._language)
        place = f"{item.pointer}: " if item.pointer else ""
        text = f"{place}{told.get('title', '')} {told.get('detail', '')}"
        return {"err": 1, "err_class": item.code or "-", "err_desc": text, "data": None}


def _key(name: str, uuid: object) -> str:
    """Under which the outbox knows a form. Raises Refused `publik.uuid`."""
    if not isinstance(uuid, str) or not _UUID.fullmatch(uuid):
        raise Refused("publik.uuid", "/uuid", name="uuid")
    return f"publik:{name}:{uuid}"


async def _answer(send: Send, status: int, told: Mapping[str, Any]) -> None:
    content = json.dumps(told, ensure_ascii=False).encode()
    headers = [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("content-length", str(len(content))),
    ]
    raw = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})
