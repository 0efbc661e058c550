"""The stranger: checks an exported ledger without a line of ours, from the public specifications alone.

    python stranger.py FOLDER      prints `<entries> <root in hexadecimal>`, or says what is wrong and exits 1

Refuses: a checkpoint that the key does not sign, a bundle cut short, a tile that is not what the entries give, a root
that is not that of the entries.
Keeps: imports the standard library and `cryptography`, and nothing of this project: it shares no mistake with it.
Source: c2sp.org/tlog-tiles, c2sp.org/signed-note, RFC 9162, section 2.1.
"""

import sys
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

WIDTH = 256


class Wrong(Exception):
    """The log is not what it says."""


def signed_checkpoint(folder: Path) -> tuple[int, bytes]:
    """Size and root of the checkpoint, signed by the key in `vkey`."""
    name, key_id, encoded = (folder / "vkey").read_text("utf-8").strip().split("+", 2)
    key = b64decode(encoded)
    if key[0] != 1 or sha256(name.encode() + b"\n" + key).hexdigest()[:8] != key_id:
        raise Wrong("vkey: not an Ed25519 key, or not its id")
    body, _, signatures = (folder / "checkpoint").read_text("utf-8").partition("\n\n")
    for line in signatures.splitlines():
        mark, signer, signature = line.split(" ")
        raw = b64decode(signature)
        if (mark, signer, raw[:4].hex()) == ("—", name, key_id):
            Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[4:], f"{body}\n".encode())
            origin, size, root = body.split("\n")[:3]
            if origin != name:
                raise Wrong("checkpoint: another log's")
            return int(size), b64decode(root)
    raise Wrong("checkpoint: not signed by this key")


def path_of(level: str, index: int, width: int) -> str:
    """Where a tile is: groups of three digits, and its width where it is not full."""
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    place = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{place}" + (f".p/{width}" if width < WIDTH else "")


def entries_of(folder: Path, size: int) -> list[bytes]:
    """Every entry: each is preceded by its length, two bytes."""
    found: list[bytes] = []
    for index in range(-(-size // WIDTH)):
        width = min(WIDTH, size - index * WIDTH)
        content, at = (folder / path_of("entries", index, width)).read_bytes(), 0
        for _ in range(width):
            length = int.from_bytes(content[at : at + 2], "big")
            found.append(content[at + 2 : at + 2 + length])
            at += 2 + length
        if at != len(content):
            raise Wrong(f"entries {index}: cut short, or too long")
    return found


def root_of(hashes: list[bytes]) -> bytes:
    """The Merkle tree hash: split at the largest power of two below the count."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else sha256().digest()
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + root_of(hashes[:split]) + root_of(hashes[split:])).digest()


def check_tiles(folder: Path, leaves: list[bytes]) -> int:
    """Every tile of every level is what the entries give. Returns how many tiles."""
    row, level, tiles = leaves, 0, 0
    while row:
        for index in range(-(-len(row) // WIDTH)):
            hashes = row[index * WIDTH : (index + 1) * WIDTH]
            if (folder / path_of(str(level), index, len(hashes))).read_bytes() != b"".join(hashes):
                raise Wrong(f"tile {level}/{index}: not what the entries give")
            tiles += 1
        full = len(row) - len(row) % WIDTH
        row = [root_of(row[at : at + WIDTH]) for at in range(0, full, WIDTH)]
        level += 1
    return tiles


def check(folder: Path) -> tuple[int, int, bytes]:
    """Entries, tiles and root of a log that is what it says. Raises Wrong, and InvalidSignature."""
    size, root = signed_checkpoint(folder)
    leaves = [sha256(b"\x00" + entry).digest() for entry in entries_of(folder, size)]
    tiles = check_tiles(folder, leaves)
    if root_of(leaves) != root:
        raise Wrong("checkpoint: its root is not that of the entries")
    return size, tiles, root


def main(arguments: list[str]) -> int:
    """Check the folder and say what was found."""
    try:
        size, tiles, root = check(Path(arguments[0]))
    except (Wrong, InvalidSignature, OSError, ValueError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write(f"{size} {tiles} {root.hex()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
