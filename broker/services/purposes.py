"""Purposes: what can be named in a consent, a subscription or a rule; an operator adds one, a second one approves it.

Refuses: what `broker.directory.purposes` refuses.
Keeps: one call is one transaction; what it answers was read after that one was committed.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from broker.directory import purposes as rows
from broker.directory.purposes import Added
from broker.setup.wiring import Home
from consent.purposes import CATALOGUE, LegalFamily, PurposeEntry
from schemas.errors import Refused
from schemas.names import Purpose

_TEXTS = ("label", "sentence", "legal", "retention")
_MEMBERS = frozenset({"id", "families", "contact", *_TEXTS})


def entry_of(document: object) -> PurposeEntry:
    """What a file says of a purpose: `id`, `families`, `contact`, and `label`, `sentence`, `legal`, `retention`, each
    in `fr` and `en`.

    Raises Refused `purposes.document` with the pointer to what is missing or is of another form, `name.purpose`.
    """
    if not isinstance(document, Mapping):
        raise Refused("purposes.document", "", wanted=", ".join(sorted(_MEMBERS)))
    for name in sorted(_MEMBERS ^ set(document), key=str):
        raise Refused("purposes.document", f"/{name}", wanted=", ".join(sorted(_MEMBERS)))
    return PurposeEntry(
        id=Purpose(_text(document, "id")),
        label=_both(document, "label"),
        sentence=_both(document, "sentence"),
        families=_families(document["families"]),
        legal=_both(document, "legal"),
        retention=_both(document, "retention"),
        contact=_text(document, "contact"),
    )


async def add(home: Home, document: object) -> Added:
    """Add a purpose, or a new text of one; nothing can name it until it is approved. Raises Refused `purposes.*`,
    `name.purpose`.
    """
    wanted = entry_of(document)
    async with home.store.begin() as tx:
        return await home.purposing.add(tx, wanted, home.clock())


async def approve(home: Home, purpose: Purpose) -> Added:
    """Let it be named, from now on. Raises Refused: `purposes.unknown`, `purposes.approved`."""
    async with home.store.begin() as tx:
        return await home.purposing.approve(tx, purpose, home.clock())


async def every(home: Home) -> list[tuple[PurposeEntry, Added | None]]:
    """Every purpose, by id: those of the program with None, the others as they were added."""
    async with home.store.read() as tx:
        found = {one.entry.id: one for one in await rows.added(tx, home.rows)}
    entries = {**{one: each.entry for one, each in found.items()}, **CATALOGUE}
    return [(entries[one], found.get(one)) for one in sorted(entries)]


def _text(document: Mapping[Any, Any], name: str) -> str:
    told = document[name]
    if not isinstance(told, str):
        raise Refused("purposes.document", f"/{name}", wanted="a text")
    return told


def _both(document: Mapping[Any, Any], name: str) -> Mapping[Any, str]:
    told = document[name]
    if not isinstance(told, Mapping) or set(told) != {"fr", "en"}:
        raise Refused("purposes.document", f"/{name}", wanted="fr, en")
    return MappingProxyType(dict(told))


def _families(told: object) -> frozenset[LegalFamily]:
    words = [one.value for one in LegalFamily]
    if not isinstance(told, list) or not all(isinstance(word, str) and word in words for word in told):
        raise Refused("purposes.families", "/families", known=", ".join(words))
    return frozenset(map(LegalFamily, told))
