"""Pages: the fenced blocks of a page of `docs/`, and how each kind of block is run.

    python     a session with `>>>`, run as a doctest; all blocks of a page share their names
    console    commands behind `$ `, run in a folder that the page calls /srv; what follows is what they must print
    yaml toml  a file, whose path is its first line: `# agencies/rennes.yaml`; so is xml: `<!-- mutations.xml -->`
               `unefois serve &` is the broker itself, on a port that is free; the page calls it 127.0.0.1:8470
    js go py   a piece of a program that `make test-agency` runs: whose path is its first line, has those lines;
               so is a toml whose path lies in `examples/`
    text       bytes, formulas, pictures: nothing to run; neither is there in Sphinx's own `{toctree}`

Keeps: what a page shows is what happens. Ids, keys, digests and instants differ in each run; a page's own stand for
those of the run, everywhere in the page: the id that one command prints is the id that a later command is given.
"""

import contextlib
import doctest
import io
import os
import re
import shlex
import socket
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from broker.cli.app import asked
from connectors.ends import Ends

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FOLDER = "/srv"
"""Where a page's commands are run, as the page tells it."""
SERVED = "127.0.0.1:8470"
"""Where a page's broker answers, as the page tells it."""

_FENCE = re.compile(r"^(`{3,})(\S*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?:# |<!-- )(\S+)(?: -->)?\n")
_PIECE = re.compile(r"(?:#|//) ((?:tests/agency/foreign|examples)/\S+)\n")
_EXIT = re.compile(r"\[exit code (\d)\]\n?\Z")
_KEY = r"\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{40,}"
_UUID = r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
_HEX = r"\b[0-9a-f]{32,}\b"
_TIME = r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,12}Z"
_NUMBER = r"\b[A-Z2-7]{32}\b"
_MOMENT = r"\d{1,2}(?:er)? [^\W\d]+ \d{4} (?:at|à) \d\d:\d\d:\d\d UTC"
_CHANGING = re.compile("|".join((_KEY, _UUID, _HEX, _TIME, _MOMENT, _NUMBER)))
"""What differs in each run: a ledger's key, ids, digests and key ids, instants, pseudonyms."""


@dataclass(frozen=True)
class Block:
    """One fenced block: its kind, its text, and the line of the page that it begins on."""

    page: Path
    kind: str
    text: str
    line: int

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page of the site."""
    return sorted(DOCS.rglob("*.md"))


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    return [Block(page, found[2], found[3], text.count("\n", 0, found.start()) + 1) for found in _FENCE.finditer(text)]


@dataclass
class Reader:
    """Somebody who does everything that a page says, in a folder of their own."""

    folder: Path
    names: dict[str, object] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    """What the page calls something -> what it is in this run."""
    exported: dict[str, str] = field(default_factory=dict)
    address: str = SERVED
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def reading(cls, folder: Path) -> Iterator["Reader"]:
        """Somebody who ends at the end of the page what it has started."""
        reader = cls(folder)
        try:
            yield reader
        finally:
            for name in reader.names.values():
                if isinstance(name, sqlite3.Connection | Ends):
                    name.close()
            for process in reader.started:
                process.terminate()
                process.communicate()

    def follow(self, block: Block) -> None:
        """Do one block. Raises AssertionError where something else happens than the page says."""
        KINDS[block.kind](self, block)

    def _session(self, block: Block) -> None:
        test = doctest.DocTestParser().get_doctest(
            self.here(block.text), self.names, block.place, str(block.page), block.line
        )
        assert test.examples, f"{block.place}: a session shows what it prints, with >>>"
        told = io.StringIO()
        with contextlib.chdir(self.folder):
            doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.write, clear_globs=False)
        self.names |= test.globs
        assert told.getvalue() == "", told.getvalue()

    def _file(self, block: Block) -> None:
        if _PIECE.match(block.text):
            self._piece(block)
            return
        named = _FILE.match(block.text)
        assert named, f"{block.place}: the first line of a file is its path, as a comment"
        path = self.folder / named[1].removeprefix(f"{FOLDER}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.here(block.text), "utf-8")

    def _piece(self, block: Block) -> None:
        named = _PIECE.match(block.text)
        assert named, f"{block.place}: the first line of a piece is the path of its program, as a comment"
        texts = (block.text[named.end() :], (ROOT / named[1]).read_text("utf-8"))
        piece, program = ([line.strip() for line in text.splitlines()] for text in texts)
        count = sum(program[start : start + len(piece)] == piece for start in range(len(program)))
        assert count == 1, f"{block.place}: {named[1]} has these lines {count} times"

    def _commands(self, block: Block) -> None:
        for part in re.split(r"^(?=\$ )", block.text, flags=re.MULTILINE):
            if not part:
                continue
            command, expected = cut(part)
            self.compare(f"{block.place}: $ {command}", expected, self.run(command))

    def run(self, command: str) -> str:
        """What a command prints, in the page's own words but for what changes; its exit code, if it is not 0."""
        if command.startswith("export "):
            name, _, told = self.here(command.removeprefix("export ")).partition("=")
            self.exported[name] = told
            return ""
        line = self.here(command, _escaped(str(self.folder)))
        if line.startswith("unefois ") and line.endswith(" &"):
            printed, code = self._start(line.removesuffix(" &")), 0
        else:
            printed, code = self._unefois(line) if line.startswith("unefois ") else self._shell(line)
        printed = printed.replace(str(self.folder), FOLDER).replace(self.address, SERVED)
        plain = "".join(f"{each.rstrip()}\n" for each in printed.splitlines())
        return plain + (f"[exit code {code}]\n" if code else "")

    def here(self, text: str, folder: str | None = None) -> str:
        """What a page says, as it is in this run; `folder`: how its folder is spelled there."""
        moved = text.replace(FOLDER, folder or str(self.folder)).replace(SERVED, self.address)
        return _CHANGING.sub(lambda found: self.known.get(found[0], found[0]), moved)

    def compare(self, place: str, expected: str, printed: str) -> None:
        """Is it what the page shows? What changes is learned. A line of three dots stands for any lines."""
        seen = _CHANGING.findall(expected)
        found = re.fullmatch(_pattern(expected), printed)
        assert found, f"{place}\n--- the page\n{expected}\n--- this run\n{printed}"
        for named, real in zip(seen, found.groups(), strict=True):
            if not re.fullmatch(_TIME, named):
                assert real == self.known.setdefault(named, real), f"{place}: {named} was {self.known[named]} before"

    def environment(self) -> dict[str, str]:
        """What a reader's shell has: the program, the home that the page names, and no language but the C one."""
        kept = {name: told for name, told in os.environ.items() if not name.startswith(("UNEFOIS_", "LC_", "XDG_"))}
        return kept | {
            "HOME": str(self.folder),
            "LANG": "C",
            "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
            "UNEFOIS_HOME": str(self.folder / "unefois"),
            **self.exported,
        }

    def _unefois(self, line: str) -> tuple[str, int]:
        """The program itself, in this process: it is the same, and takes a tenth of the time."""
        words, told = shlex.split(line)[1:], io.StringIO()
        into = words.pop() if len(words) > 1 and words[-2] == ">" else None
        words = words[:-1] if into else words
        errors = io.StringIO() if into else told
        code: int | str | None = 0
        with (
            patch.dict(os.environ, self.environment(), clear=True),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(told),
            contextlib.redirect_stderr(errors),
        ):
            try:
                asked(words)(words)
            except SystemExit as end:
                code = end.code
        if into:
            (self.folder / into).write_text(told.getvalue(), "utf-8")
            return errors.getvalue(), int(code or 0)
        return told.getvalue(), int(code or 0)

    def _start(self, line: str) -> str:
        """The first line that a command prints which goes on; it ends with the page."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "broker", *shlex.split(line)[1:]],
            cwd=self.folder,
            env=self.environment() | {"PYTHONPATH": str(ROOT), "UNEFOIS_LISTEN": self.address},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.started.append(process)
        assert process.stdout is not None
        return process.stdout.readline()

    def _shell(self, line: str) -> tuple[str, int]:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=self.environment(),
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.stdout, done.returncode


KINDS: Mapping[str, Callable[[Reader, Block], None]] = {
    "python": Reader._session,
    "console": Reader._commands,
    "yaml": Reader._file,
    "toml": Reader._file,
    "xml": Reader._file,
    "js": Reader._piece,
    "go": Reader._piece,
    "py": Reader._piece,
    "text": lambda _, __: None,
    "{toctree}": lambda _, __: None,
}
"""How each kind of block is followed; no other kind may be in a page."""


def cut(part: str) -> tuple[str, str]:
    """A command, over several lines if each ends with a backslash, and what it prints."""
    lines = part.removeprefix("$ ").splitlines(keepends=True)
    count = next(number for number, line in enumerate(lines, 1) if not line.endswith("\\\n"))
    command = "".join(line.removesuffix("\\\n") for line in lines[:count])
    return " ".join(command.split()) if count > 1 else command.rstrip("\n"), "".join(lines[count:])


def _escaped(path: str) -> str:
    """For a shell, wherever in a word it stands."""
    return re.sub(r"([^\w/.,:=@%+-])", r"\\\1", path)


def _pattern(expected: str) -> str:
    """What is shown, as an expression with a group for each thing that changes."""
    made = ""
    for line in expected.splitlines(keepends=True):
        if line.strip() == "...":
            made += r"(?:.*\n)*?"
            continue
        at = 0
        for found in _CHANGING.finditer(line):
            made += _dotted(line[at : found.start()]) + f"({_kind_of(found[0])})"
            at = found.end()
        made += _dotted(line[at:])
    return made


def _dotted(text: str) -> str:
    return ".*".join(map(re.escape, text.split("...")))


def _kind_of(token: str) -> str:
    return next(kind for kind in (_KEY, _UUID, _HEX, _TIME, _MOMENT, _NUMBER) if re.fullmatch(kind, token))
