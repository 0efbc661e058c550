"""Somebody at the command line who gives the program something wrong, and reads what it answers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import Corrupt, Fault, Refused, Unavailable
from schemas.names import PartyId
from tests.bad_input.state import files_of, unchanged
from tests.bad_input.telling import CITIZEN, LANGUAGES, assert_told, leaks, sentences_of
from tests.program import Program
from tests.world import RENNES

KINDS: Mapping[int, type[Fault]] = {1: Refused, 3: Refused, 4: Unavailable, 5: Corrupt}
"""What an exit code says of the fault."""


@dataclass
class Person:
    """The program's user, with one home and one file."""

    home: Path
    file: Path

    @property
    def database(self) -> Path:
        """The home's database file."""
        return self.home / "unefois.db"

    @property
    def program(self) -> Program:
        """The program itself, for what should succeed."""
        return Program(self.home)

    def record(self) -> dict[str, Any]:
        """What is in the file."""
        told: dict[str, Any] = json.loads(self.file.read_text())
        return told

    def write(self, content: bytes | Mapping[str, Any]) -> Path:
        """Another file beside it."""
        path = self.file.with_name("wrong")
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    def is_told(
        self, words: tuple[object, ...], code: str, pointer: str = "", *, exit_code: int, notes: int = 0
    ) -> Fault:
        """The command ends in this fault, in French, in English and as JSON, and changes nothing; no trace is shown.

        `notes`: how many refusals the ledger notes each time.
        """
        before = files_of(self.home)
        with unchanged(self.database, refusals=notes):
            told = self.program.run(*words, "--json")
        assert (exit_code, "") == (told.exit_code, told.stdout), told.output
        error = json.loads(told.stderr)["error"]
        faults = [
            KINDS[exit_code](each["code"], each["pointer"], **each.get("details", {}))
            for each in error.get("errors", [error])
        ]
        fault = faults[0]
        assert_told(fault, code, pointer)
        for language in LANGUAGES:
            with unchanged(self.database, refusals=notes):
                shown = self.program.run(*words, "--lang", language)
            assert (exit_code, "") == (shown.exit_code, shown.stdout)
            assert shown.stderr.startswith(code)
            assert pointer in shown.stderr.partition("\n")[0]
            sentences = [sentences_of(each, language) for each in faults]
            told_each = [f"{each.code}  {each.pointer}".rstrip() for each in faults]
            told_each[0] = shown.stderr.partition("\n")[0]  # the name of a file may stand there
            blocks = zip(told_each, sentences, strict=True)
            assert "".join(f"{head}\n  {wrong}\n  {remedy}\n" for head, (wrong, remedy) in blocks) == shown.stderr
            assert [] == leaks(shown.output + told.output)
            assert "Traceback" not in shown.output
        after = files_of(self.home)
        for path in after.keys() - before.keys():  # the first entry of a period makes its key
            assert notes
            assert path.startswith("keys/opening/")
            del after[path]
        assert before == after
        return fault

    def allows(self, party: PartyId = RENNES) -> None:
        """The citizen lets the town hear of a move."""
        (path := self.file.with_name("citizen.json")).write_text(json.dumps(CITIZEN))
        fields = [word for name in ("subject", "new_address", "effective_date") for word in ("--field", name)]
        self.program.told(
            *("grant", "--person", path, "--recipient", party, "--type", "address.changed"),
            *("--purpose", "local-services", *fields),
        )

    def declares(self) -> str:
        """The file as it should be is taken, and routed."""
        declared: str = self.program.told("declare", self.file, "--type", "address.changed")["declaration"]
        assert 1 == self.program.told("run", "--once")["routed"]
        assert self.program.told("fsck")["clean"]
        return declared
