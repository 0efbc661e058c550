"""Local: the socket over which processes of one machine ask each other, and who may.

    u32 length, big-endian | so many bytes           one question and one answer a connection

Refuses: a peer that is neither this process's user nor in the group that was chosen (`consents.foreign`), by what the
kernel says of it (SO_PEERCRED, SO_PEERGROUPS) and not by what it says; a message that is too long, before it is read
(`consents.too-large`); a socket of which somebody else hears already (`consents.socket-taken`).
Keeps: the socket is for its owner alone (0600), or for the chosen group too (0660).
"""

import asyncio
import errno
import grp
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import Refused, Unavailable

PATH_BYTES: Final = 107
"""Of a socket's path on Linux: unix(7)."""
_HEAD: Final = struct.Struct(">I")
_CREDENTIALS: Final = struct.Struct("3i")
_SO_PEERGROUPS: Final = 59
"""As in Linux's asm-generic/socket.h: Python does not name it."""
_GROUPS: Final = 256


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as the kernel says."""

    uid: int
    groups: frozenset[int]


def peer_of(connected: socket.socket) -> Peer:
    """Raises OSError."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(raw)
    try:
        more = connected.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _GROUPS)
    except OSError:  # in more groups than that: its first one counts
        more = b""
    return Peer(uid, frozenset({gid, *struct.unpack(f"{len(more) // 4}I", more)}))


def group_id(name: str | None) -> int | None:
    """The number of a group. Raises Refused `consents.group`."""
    if name is None:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise Refused("consents.group", "/consents_group", group=name) from None


def is_allowed(peer: Peer, group: int | None) -> bool:
    """Our own user; or somebody of the chosen group."""
    return peer.uid == os.geteuid() or (group is not None and group in peer.groups)


def bound(path: Path, group: int | None) -> socket.socket:
    """A socket that hears at a path. What a process that died has left there is taken away.

    Raises Refused: `consents.socket-path`, `consents.socket-taken`.
    """
    _check_path(path)
    if _somebody_hears(path):
        raise Refused("consents.socket-taken", file=str(path))
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        made.bind(str(path))
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o660)
        made.listen(128)
    except OSError as error:
        made.close()
        raise Refused(
            "consents.socket-path", file=str(path), reason=errno.errorcode.get(error.errno or 0, "?")
        ) from None
    finally:
        os.umask(before)
    return made


def _check_path(path: Path) -> None:
    if len(os.fsencode(path)) > PATH_BYTES:
        raise Refused("consents.socket-path", file=str(path), reason="ENAMETOOLONG")
    if path.exists() and not path.is_socket():
        raise Refused("consents.socket-path", file=str(path), reason="ENOTSOCK")


def _somebody_hears(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(str(path))
        except OSError:
            return False
    return True


async def connected(path: Path, group: int | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to who hears there. Raises Unavailable `consents.foreign`; OSError where nobody does."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    if not is_allowed(peer_of(writer.get_extra_info("socket")), group):
        await closed(writer)
        raise Unavailable("consents.foreign", file=str(path))
    return reader, writer


async def closed(writer: asyncio.StreamWriter) -> None:
    """End a connection."""
    writer.close()
    with suppress(OSError):  # the other end was faster
        await writer.wait_closed()


async def sent(writer: asyncio.StreamWriter, raw: bytes) -> None:
    """Raises OSError."""
    writer.write(_HEAD.pack(len(raw)) + raw)
    await writer.drain()


async def received(reader: asyncio.StreamReader, limit: int) -> bytes:
    """Raises Refused `consents.too-large`; OSError, EOFError where the other end is gone."""
    (length,) = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if length > limit:
        raise Refused("consents.too-large", limit=limit)
    return await reader.readexactly(length)
