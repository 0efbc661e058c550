"""Partitioning: which partition a key belongs to, the same for every adapter of the log.

Refuses: nothing.
Keeps: the answer, for ever: by SHA-256, which no version of Python or of a library changes.
"""

import hashlib


def partition_of(key: bytes, count: int) -> int:
    """Which of `count` partitions a key belongs to: the first 8 bytes of its SHA-256, modulo the count."""
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") % count
