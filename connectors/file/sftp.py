"""The sftp connector: the files of `connectors.file.connector`, in a folder of an SFTP server.

Refuses: a server whose key is not pinned, a second process on the same journal, and what the formats refuse.
Keeps: what `connectors.file.writing` keeps. The journal is on this machine: the server may show nothing of what was
taken there.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from connectors.contract import Ground, checked
from connectors.description import Case, Description
from connectors.file.folder import is_writable
from connectors.file.formats import layout_of
from connectors.file.server import Server
from connectors.file.session import Session
from connectors.file.settings import SftpSettings
from connectors.file.writing import FileWriter
from connectors.journal import Journal
from schemas.errors import Fault, Refused, Unavailable


class SftpConnector(FileWriter):
    """One folder of one server, one kind of file. Made by `open`."""

    about: ClassVar = Description(
        settings=SftpSettings,
        guarantee={
            "en": "A delivery is a line of one file for ever; nobody takes a file before it is whole.",
            "fr": "Une livraison est une ligne d'un seul fichier, à jamais ; nul ne prend un fichier incomplet.",
        },
        other_side={
            "en": "Who takes the files takes each name once, never one that ends in .tmp, and may then delete it.",
            "fr": "Qui prend les fichiers prend chaque nom une fois, jamais un nom en .tmp, et peut ensuite l'effacer.",
        },
        spared={
            Case.TOO_MANY: {
                "en": "An SFTP server does not ask to come back later.",
                "fr": "Un serveur SFTP ne demande pas de revenir.",
            },
            Case.UNKNOWN_PERSON: {
                "en": "Who takes the files finds the person.",
                "fr": "C'est à qui prend les fichiers de trouver la personne.",
            },
            Case.SEVERAL_PERSONS: {
                "en": "Who takes the files finds the person.",
                "fr": "C'est à qui prend les fichiers de trouver la personne.",
            },
        },
    )

    @classmethod
    async def open(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> Self:
        """Connect, look at the folders, and finish what an earlier run left unfinished.

        Raises Refused("connector.*", "file.*", "sftp.*"), Unavailable("journal.in-use"), Retry("sftp.*").
        """
        chosen = checked(SftpSettings, settings)
        layout = await asyncio.to_thread(layout_of, chosen)
        for wrong in layout.wrong(targets):
            raise wrong
        server = Server(await asyncio.to_thread(Session.of, chosen), chosen)
        if not await asyncio.to_thread(is_writable, chosen.journal.parent):
            raise Refused("file.folder", "/journal")
        journal = await asyncio.to_thread(Journal.open, chosen.journal)
        connector = cls(chosen, targets, ground, layout=layout, journal=journal, place=server)
        try:
            await server.look()
            await connector.recover()
        except BaseException:
            await connector.close()  # whatever went wrong, the lock must not outlive us
            raise
        return connector

    @classmethod
    async def check(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> tuple[Fault, ...]:
        """Connects with the pinned key and the account, and looks at the folders; writes nothing, and takes no lock."""
        faults: list[Fault] = []
        try:
            chosen = checked(SftpSettings, settings)
        except Refused as fault:
            return (fault,)
        if not await asyncio.to_thread(is_writable, chosen.journal.parent):
            faults.append(Refused("file.folder", "/journal"))
        try:
            faults += (await asyncio.to_thread(layout_of, chosen)).wrong(targets)
        except Refused as fault:
            faults.append(fault)
        try:
            server = Server(await asyncio.to_thread(Session.of, chosen), chosen)
        except Refused as fault:
            return (*faults, fault)
        try:
            await server.look()
        except (Refused, Unavailable) as fault:
            faults.append(fault)
        finally:
            await server.close()
        return tuple(faults)
