"""Rig of the sftp connector: a real SSH server in this process, which sees one folder and nothing else.

Refuses: nothing. Keeps: bad behaviour is the server's: it holds an answer back, breaks off, or does not let in.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

from connectors.description import Case
from connectors.file.sftp import SftpConnector
from connectors.kit.rig import Rig

OTHER_KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII84NAssF+Uzi+udrWJcljKR2touBrKxEIQf89cOnoIE"
"""Of a server that there is not."""


class SftpRig(Rig):
    """A server's folder, with the journal on this side."""

    connector = SftpConnector
    plays = frozenset({Case.SLOW_PEER, Case.PEER_AWAY, Case.WRONG_CREDENTIALS, Case.TRUNCATED_ANSWER, Case.ANSWER_LOST})
    deadline_s = 1

    async def __aenter__(self) -> Self:
        (self.place / "server" / "in").mkdir(parents=True)
        (self.place / "password").write_text("open sesame\n")
        from connectors.kit.sftp_served import SftpServed  # here: asyncssh is an extra

        self.served = await SftpServed(self.place / "server").__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.served.__aexit__()

    def settings(self) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": 9 if self.served.case is Case.PEER_AWAY else self.served.port,  # nobody listens on the discard port
            "user": "unefois",
            "password": {"file": str(self.place / "password")},
            "host_keys": [self.served.host_key],
            "folder": "/in",
            "journal": str(self.place / "journal.sqlite"),
        }

    def held(self) -> Sequence[str]:
        files = sorted((self.place / "server" / "in").glob("*.csv"))
        return [line.split(";")[0] for file in files for line in file.read_text("utf-8").splitlines()[1:]]

    def wrong(self) -> Sequence[dict[str, Any]]:
        good = self.settings()
        return (
            *super().wrong(),
            good | {"folder": "/none"},
            good | {"host_keys": [OTHER_KEY]},
            good | {"host_keys": ["ssh-ed25519 none"]},
            good | {"password": "another"},
            good | {"complete": "marker"},
        )

    @contextmanager
    def inflicted(self, case: Case) -> Iterator[None]:
        self.served.case = case
        try:
            yield
        finally:
            self.served.case = None
            self.served.go.set()
