"""A reader of the directory that knows nothing of ours: written from docs/protocol.md, section 13, and nothing else.

It has the checks of that section by their numbers; what it refuses is the number of the check. Keys that nobody should
trust are for the library underneath: it takes no position on curves.
"""

import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TEXT = re.compile(
    r"unefois-directory/v1\n(?P<origin>[^\n]+)\nversion (?P<version>0|[1-9][0-9]{0,17})\n"
    r"sha256 (?P<digest>[A-Za-z0-9+/]{43}=)\nprevious (?P<previous>[A-Za-z0-9+/]{43}=)\n"
)
MEMBERS = {
    "signing": ["kid", "party", "algorithm", "public", "valid_from", "valid_to", "revoked_at"],
    "sealing": ["kid", "party", "suite", "public", "valid_from", "valid_to", "revoked_at"],
    "rights": ["party", "event_type", "valid_from", "valid_to"],
    "policies": ["party", "policy", "valid_from"],
}
ORDER = {
    "signing": ("kid",),
    "sealing": ("kid",),
    "rights": ("party", "event_type", "valid_from"),
    "policies": ("party", "valid_from"),
}


class Wrong(Exception):
    """The number of the check that refused."""


class Reader:
    """Trusts one verifier key; keeps a version and a digest."""

    def __init__(self, vkey: str) -> None:
        self.name, key_id, encoded = vkey.split("+", 2)
        raw = b64decode(encoded)
        assert raw[0] == 1
        assert sha256(self.name.encode() + b"\n" + raw).digest()[:4].hex() == key_id
        self.key_id, self.key = bytes.fromhex(key_id), Ed25519PublicKey.from_public_bytes(raw[1:])
        self.kept: tuple[int, bytes] | None = None

    def take(self, content: str, note: str) -> dict[str, Any]:
        """The newest directory. Raises Wrong."""
        now, previous = self._note(note)
        if sha256(content.encode()).digest() != now[1]:
            raise Wrong(3)
        self._follows(now, previous)
        found = document(content)
        self.kept = now
        return found

    def follow(self, note: str) -> None:
        """One link. Raises Wrong."""
        now, previous = self._note(note)
        self._follows(now, previous)
        self.kept = now

    def _note(self, note: str) -> tuple[tuple[int, bytes], bytes]:
        text, _, lines = note.partition("\n\n")
        text += "\n"
        found = TEXT.fullmatch(text)
        if found is None or found["origin"] != self.name:
            raise Wrong(1)
        digest, previous = b64decode(found["digest"]), b64decode(found["previous"])
        if [b64encode(each).decode() for each in (digest, previous)] != [found["digest"], found["previous"]]:
            raise Wrong(1)
        if not any(self._signs(line, text) for line in lines.splitlines()):
            raise Wrong(2)
        return (int(found["version"]), digest), previous

    def _signs(self, line: str, text: str) -> bool:
        dash, name, encoded = line.split(" ")
        raw = b64decode(encoded)
        if (dash, name, raw[:4]) != ("\u2014", self.name, self.key_id):
            return False
        try:
            self.key.verify(raw[4:], text.encode())
        except InvalidSignature:
            return False
        return True

    def _follows(self, now: tuple[int, bytes], previous: bytes) -> None:
        if self.kept is None:
            return
        version, digest = self.kept
        if now[0] < version:
            raise Wrong(4)
        if now[0] == version and now[1] != digest:
            raise Wrong(5)
        if now[0] > version and previous != digest:
            raise Wrong(6)


def document(content: str) -> dict[str, Any]:
    """Check 7."""
    whole: dict[str, Any] = json.loads(content)
    sound = list(whole) == ["broker", *MEMBERS] and json.dumps(whole, indent=1) + "\n" == content
    for name, members in MEMBERS.items() if sound else ():
        items = whole[name]
        sound = sound and all(list(each) == members for each in items)
        sound = sound and items == sorted(items, key=lambda each: tuple(each[part] for part in ORDER[name]))
        sound = sound and all(each.get("valid_to") is None or each["valid_to"] >= each["valid_from"] for each in items)
        if name in {"signing", "sealing"}:
            sound = sound and len({each["kid"] for each in items}) == len(items) and all(map(_is_hash, items))
    if not sound:
        raise Wrong(7)
    return whole


def _is_hash(entry: dict[str, Any]) -> bool:
    number = bytes([entry["algorithm"]]) if "algorithm" in entry else entry["suite"].to_bytes(2, "big")
    return bool(sha256(number + bytes.fromhex(entry["public"])).hexdigest() == entry["kid"])
