"""SQLite file: the one file of a database, before SQLite opens it.

Refuses: a database that forgets (in memory), a folder that is not there, a file that this account may not open.
Keeps: the file tells who consented to what, so it is made for its owner's eyes, and its write-ahead log takes its
permissions. One that is there is not opened: closing it would end the locks that another connection of this process has
on it, and the next process to leave would take the log away under us, with what was committed.
Source: sqlite.org/howtocorrupt.html, 2.2 (POSIX advisory locks).
"""

import os
from pathlib import Path

from sqlalchemy import URL

from schemas.errors import Refused, Unavailable


def make_private(url: URL) -> None:
    """The file of a database's URL, made where it is not there.

    Raises Refused `store.url`, `store.no-folder`; Unavailable `store.cannot-open`.
    """
    if not url.database or url.database == ":memory:" or url.database.startswith("file:") or url.query:
        raise Refused("store.url", driver=url.drivername)
    if not Path(url.database).parent.is_dir():
        raise Refused("store.no-folder")
    if Path(url.database).is_dir():
        raise Unavailable("store.cannot-open", error=IsADirectoryError.__name__)
    # Crash here: an empty file, which is an empty database.
    try:
        os.close(os.open(url.database, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not os.access(url.database, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise Unavailable("store.cannot-open", error=PermissionError.__name__) from None
    except OSError as error:
        raise Unavailable("store.cannot-open", error=type(error).__name__) from None
