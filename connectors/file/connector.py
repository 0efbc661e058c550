"""The file connector: files (CSV, JSON lines, fixed width, XML) in a folder from which an agency's program takes them.

A file is complete from the moment its name is visible; a program may take it, move it or delete it at any time. A
delivery is written in one file for ever: the journal remembers it when the file is gone.

Refuses: a second process on the same folder, to replace a file of the same name, and what the formats refuse.
Keeps: what `connectors.file.writing` keeps.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from connectors.contract import Ground, checked
from connectors.description import Case, Description
from connectors.file.folder import Folder, is_writable
from connectors.file.formats import layout_of
from connectors.file.settings import FileSettings
from connectors.file.writing import FileWriter
from connectors.journal import Journal
from schemas.errors import Fault, Refused


class FileConnector(FileWriter):
    """One folder, one kind of file. Made by `open`."""

    about: ClassVar = Description(
        settings=FileSettings,
        guarantee={
            "en": "A delivery is a line of one file for ever, and a file is whole from the moment its name is visible.",
            "fr": "Une livraison est une ligne d'un seul fichier, à jamais ; il est entier dès qu'il est visible.",
        },
        other_side={
            "en": "Who takes the files takes each name once, may then move or delete it, and leaves the journal.",
            "fr": "Qui prend les fichiers prend chaque nom une fois, peut ensuite l'effacer, et laisse le journal.",
        },
        spared={
            Case.SLOW_PEER: {
                "en": "A disk that hangs cannot be broken off; the call ends when the disk answers.",
                "fr": "Un disque figé ne peut être interrompu ; l'appel finit quand il répond.",
            },
            Case.TOO_MANY: {
                "en": "A folder does not ask to come back later.",
                "fr": "Un dossier ne demande pas de revenir.",
            },
            Case.WRONG_CREDENTIALS: {
                "en": "A folder has no password; one that may not be written is refused at the start.",
                "fr": "Un dossier n'a pas de mot de passe ; sans droit d'écriture, il est refusé dès l'ouverture.",
            },
            Case.TRUNCATED_ANSWER: {"en": "A folder answers nothing.", "fr": "Un dossier ne répond rien."},
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
        """Open the folder and its journal, and finish what an earlier run left unfinished.

        Raises Refused("connector.settings", "file.*"), Unavailable("journal.in-use"), Retry("file.write").
        """
        chosen = checked(FileSettings, settings)
        layout = await asyncio.to_thread(layout_of, chosen)
        for wrong in layout.wrong(targets):
            raise wrong
        if not await asyncio.to_thread(is_writable, chosen.folder):
            raise Refused("file.folder", "/folder")
        path = chosen.journal or chosen.folder / ".unefois-journal.sqlite"
        journal = await asyncio.to_thread(Journal.open, path)
        connector = cls(chosen, targets, ground, layout=layout, journal=journal, place=Folder(chosen))
        try:
            await connector.recover()
        except BaseException:
            await connector.close()  # whatever went wrong, the lock must not outlive us
            raise
        return connector

    @classmethod
    async def check(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> tuple[Fault, ...]:
        """Looks at the folders; writes nothing, and takes no lock."""
        try:
            chosen = checked(FileSettings, settings)
            wrong = tuple((await asyncio.to_thread(layout_of, chosen)).wrong(targets))
        except Refused as fault:
            if fault.code == "connector.settings":
                return (fault,)
            wrong = (fault,)
        folders = {"/folder": chosen.folder} | ({} if chosen.journal is None else {"/journal": chosen.journal.parent})
        usable = {place: await asyncio.to_thread(is_writable, folder) for place, folder in folders.items()}
        return (*(Refused("file.folder", place) for place, good in usable.items() if not good), *wrong)
