"""Forms: what one setting must look like, whatever the others say; the types of `choices`.

Refuses: what is not of its form, in words that follow the setting's name and never repeat what was written.
Keeps: what an operator writes in one line, separated by commas, is a tuple here; a path does not depend on where the
process stands.
"""

import json
import re
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from schemas.errors import Refused
from schemas.hpke import Suite as HpkeSuite
from schemas.names import PartyId
from schemas.signing import POLICIES
from schemas.text import is_plain
from schemas.witnessing import Known

_ADDRESS: Final = re.compile(r"[A-Za-z0-9.-]+:([0-9]{1,5})")
_NAME: Final = re.compile(r"(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_ORIGIN: Final = re.compile(r"[a-z0-9][a-z0-9.-]*(?:/[a-z0-9._-]+)*")
_ORIGIN_CHARACTERS: Final = 200
_WORD_BYTES: Final = 100
_FILLED: Final = re.compile(r"\{(?:to|text|id)\}")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")


def _parts(told: object) -> Sequence[object] | None:
    """What stands between the commas; None for what is no list, which pydantic refuses in its own words."""
    parts = told.split(",") if isinstance(told, str) else told
    return parts if isinstance(parts, tuple | list) else None


def _addresses(told: object) -> object:
    parts = _parts(told)
    if parts is None:
        return told
    addresses = tuple(str(part).strip() for part in parts)
    if not all(map(_ADDRESS.fullmatch, addresses)):
        raise ValueError("addresses as host:port, separated by commas")
    return addresses


def _witnesses(told: object) -> object:
    parts = _parts(told)
    if parts is None:
        return told
    try:
        return tuple(f"{one.key.text} {one.url}" for part in parts if (one := Known.parse(str(part))))
    except Refused:
        raise ValueError("each a witness's verifier key, a space and its address, separated by commas") from None


def _names(told: object) -> object:
    parts = _parts(told)
    if parts is None:
        return told
    names = tuple(name for part in parts if (name := str(part).strip().lower()))
    if not all(map(_NAME.fullmatch, names)):
        raise ValueError("host names, with or without a port, separated by commas")
    return names


def _words(told: object) -> object:
    parts = _parts(told)
    if parts is None:
        return told
    words = tuple(str(part).strip() for part in parts)
    if not all(is_plain(word, _WORD_BYTES) for word in words):
        raise ValueError("words in one line, separated by commas")
    return words


def _parties(told: object) -> object:
    parts = _parts(told)
    return told if parts is None else tuple(_party(name) for part in parts if (name := str(part).strip()))


def _networks(told: object) -> object:
    parts = _parts(told)
    if parts is None:
        return told
    try:
        return tuple(str(ip_network(place)) for part in parts if (place := str(part).strip()))
    except ValueError:
        raise ValueError("addresses or networks, separated by commas") from None


def _port(text: str) -> int | None:
    """The port of `host:port`; None for what is no such address."""
    found = _ADDRESS.fullmatch(text)
    return int(found[1]) if found and int(found[1]) <= 65_535 else None


def _place(text: str) -> str:
    if text != "none" and _port(text) is None:
        raise ValueError("an address as host:port, or none")
    return text


def _server(text: str) -> str:
    if not _port(text):
        raise ValueError("an address as host:port")
    return text


def _party(text: str) -> str:
    try:
        return PartyId(text)
    except Refused:
        raise ValueError("an identifier such as urn:unefois:broker or urn:fr:siret: and 14 digits") from None


def _origin(text: str) -> str:
    if len(text) > _ORIGIN_CHARACTERS or not _ORIGIN.fullmatch(text):
        raise ValueError("a host and path in lower case, without https://")
    return text


def _policy(number: int) -> int:
    if number not in POLICIES:
        raise ValueError(f"one of {', '.join(map(str, POLICIES))}")
    return number


def _suite(told: object) -> object:
    return HpkeSuite.__members__.get(told.upper().replace("-", "_"), told) if isinstance(told, str) else told


def template(body: str, form: str) -> str:
    """The body of a call to an SMS gateway. Raises ValueError for one that does not say to whom, or what."""
    if "{to}" not in body or "{text}" not in body:
        raise ValueError("a text with {to} and {text}")
    if form == "json":
        try:
            json.loads(_FILLED.sub("x", body))
        except ValueError:
            raise ValueError("JSON, with {to} and {text} inside its strings") from None
    return body


def headers(told: dict[str, str]) -> dict[str, str]:
    """Headers of such a call. Raises ValueError for what is none (RFC 9110, 5.1 and 5.5)."""
    for name, value in told.items():
        if not _HEADER.fullmatch(name) or not (value.isascii() and value.isprintable()):
            raise ValueError("names and values of HTTP headers")
    return told


Addresses = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_addresses)]
"""Each `host:port`."""
Witnesses = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_witnesses)]
"""Each `<verifier key> <address>`."""
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
"""Names or addresses of hosts, each with or without a port, in lower case."""
Parties = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parties)]
"""Identifiers of administrations."""
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
"""Each a short text that a citizen's receipt can say."""
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_networks)]
"""Addresses or networks, each as a network."""
Place = Annotated[str, AfterValidator(_place)]
"""`host:port`, or `none`; port 0 is any that is free."""
Server = Annotated[str, AfterValidator(_server)]
"""`host:port` of somebody else."""
Party = Annotated[str, AfterValidator(_party)]
"""The name of a party, protocol 1."""
Origin = Annotated[str, AfterValidator(_origin)]
"""A ledger's name, C2SP tlog-checkpoint."""
Policy = Annotated[int, AfterValidator(_policy)]
"""The number of a signature policy, protocol 4."""
Suite = Annotated[HpkeSuite, BeforeValidator(_suite)]
"""By its name, `mlkem768_x25519` or `x25519`, as an operator would write it."""
Absolute = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
"""From here on it does not matter where the process stands."""
