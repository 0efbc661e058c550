"""Makes `protocol/manifest-v2.json` from `story.json` by hand, without this project's code: run me as a module.

A manifest of version 2 is the bytes of version 1 behind another first byte, and three words behind them.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "protocol"
CASES = (
    ("low", "declared", "online"),
    ("counter", "certified", "counter"),
    ("substantial", "declared", "phone"),
    ("high", "authentic", "system"),
)
BAD = {
    "unknown-assurance": (("sure", "declared", "online"), "assurance.unknown", "/assurance"),
    "unknown-quality": (("low", "told", "online"), "assurance.unknown", "/quality"),
    "unknown-channel": (("low", "declared", "fax"), "assurance.unknown", "/channel"),
    "capital": (("Low", "declared", "online"), "assurance.unknown", "/assurance"),
}


def word(text: str) -> bytes:
    """Avro: the length as a zigzag number, one byte below 64, then UTF-8."""
    raw = text.encode()
    return bytes((2 * len(raw),)) + raw


def stated(payload: bytes, words: tuple[str, str, str]) -> bytes:
    """Version 1 made version 2: 2 is 4 in zigzag."""
    return b"\x04" + payload[1:] + b"".join(map(word, words))


def made() -> dict[str, Any]:
    """The file's content."""
    payload = bytes.fromhex(json.loads((FOLDER / "story.json").read_text("utf-8"))["payload"])
    one = stated(payload, CASES[0])
    return {
        "good": [
            {
                **dict(zip(("assurance", "quality", "channel"), words, strict=True)),
                "payload": stated(payload, words).hex(),
                "digest": sha256(stated(payload, words)).hexdigest(),
            }
            for words in CASES
        ],
        "bad": {
            **{
                name: {"payload": stated(payload, words).hex(), "code": code, "pointer": pointer}
                for name, (words, code, pointer) in BAD.items()
            },
            "words-behind-version-1": {
                "payload": (payload + b"".join(map(word, CASES[0]))).hex(),
                "code": "avro.trailing-bytes",
                "pointer": "",
            },
            "version-2-without-words": {
                "payload": (b"\x04" + payload[1:]).hex(),
                "code": "avro.truncated",
                "pointer": "/assurance",
            },
            "version-3": {"payload": (b"\x06" + payload[1:]).hex(), "code": "manifest.version", "pointer": "/version"},
            "one-word-more": {"payload": (one + word("more")).hex(), "code": "avro.trailing-bytes", "pointer": ""},
        },
    }


if __name__ == "__main__":
    (FOLDER / "manifest-v2.json").write_text(json.dumps(made(), indent=1) + "\n", "utf-8")
