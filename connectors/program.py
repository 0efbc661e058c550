"""`unefois-agency`: the agency's side on a command line of its own, where the broker is not installed.

    unefois-agency key new FILE --kind x25519        a private key, and the line for the broker's operator
    unefois-agency key show FILE                     that line again
    unefois-agency source serve FILE                 the signing sidecar
    unefois-agency publik serve FILE                 forms of Publik become declarations
    unefois-agency receipt check FILE --key KEY      verify a receipt of the ledger, offline
    unefois-agency type list                         every event type
    unefois-agency type show TYPE                    its fields, with types, limits and symbols; --json for programs
    unefois-agency connector list                    every connector that is installed
    unefois-agency connector describe NAME           what it guarantees, what the other side must do, its settings
    unefois-agency connector check FILE              each connector of a file, tried without an effect
    unefois-agency connector test NAME               the kit: crashes, lost answers, slow peers, order
    unefois-agency connector new NAME                the package of a new one
    unefois-agency mapping list|test|preview|new     mapping files: those that come along, tried, shown, begun
    unefois-agency completion bash                   what a shell needs to complete all this with Tab

Refuses: nothing of its own.
Keeps: an error is its code and its place, what is wrong and what to do, on stderr; it and the help are in the language
that `--lang` says, else the machine.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from connectors import (
    completing,
    draft,
    key_files,
    mapping_draft,
    mapping_files,
    preview,
    registry,
    scaffold,
    source_serve,
    trying,
)
from connectors.mapping import packaged
from connectors.publik import serve as publik_serve
from schemas import described, receipt
from schemas.catalogue import builtin
from schemas.errors import Fault, Refused
from schemas.messages import Language, explain
from schemas.note import VerifierKey
from schemas.translations import french, read, spoken

USAGE: Final = 2
REFUSED: Final = 1


def main(words: Sequence[str] | None = None) -> None:
    """Run a command line to its end; raises SystemExit with 0, 1 (refused, or away) or 2 (not understood)."""
    words = sys.argv[1:] if words is None else words
    language = spoken(words, os.environ)
    told = parser(language).parse_args(words)
    told.language = language
    try:
        told.run(told)
    except Fault as fault:
        for each in (fault, *fault.also):
            message = explain(each, language)
            place = " ".join(str(part) for part in (each.details.get("file"), each.pointer) if part)
            remedy = message.remedy.replace("`unefois type ", "`unefois-agency type ")  # both programs have it
            sys.stderr.write(f"{each.code}  {place}".rstrip() + f"\n  {message.wrong}\n  {remedy}\n")
        sys.exit(REFUSED)


def parser(language: Language) -> argparse.ArgumentParser:
    """Every command, with its help in this language; the French is in `fr.po`, by its English."""
    known = read((files("connectors") / "fr.po").read_text("utf-8")) if language == "fr" else {}
    of = partial(french, known=known)

    def end(one: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        one.add_argument("--lang", choices=("fr", "en"), help=of("Language of the sentences. Default: from LANG."))
        one.set_defaults(run=run)
        return one

    top = argparse.ArgumentParser("unefois-agency", description=of("Unefois, the agency's side."))
    formatter = _French if language == "fr" else argparse.HelpFormatter
    top.add_argument("--lang", choices=("fr", "en"), help=of("Language of the sentences. Default: from LANG."))
    groups = top.add_subparsers(required=True, metavar=of("GROUP"))
    one = partial(_one, of=of)
    key = one(groups, "key", "private keys in files").add_subparsers(required=True, metavar=of("COMMAND"))
    new = end(one(key, "new", "make one; the line for the broker's operator is printed"), _key_new)
    new.add_argument("file", type=Path)
    new.add_argument("--kind", choices=sorted(key_files.KINDS), required=True, help=of("for signing or for opening"))
    end(one(key, "show", "the line for the broker's operator"), _key_show).add_argument("file", type=Path)
    source = one(groups, "source", "declare").add_subparsers(required=True, metavar=of("COMMAND"))
    serve = end(one(source, "serve", "the signing sidecar, on this machine alone"), _serve)
    serve.add_argument("file", type=Path)
    publik = one(groups, "publik", "forms of Publik").add_subparsers(required=True, metavar=of("COMMAND"))
    inbound = end(one(publik, "serve", "its workflows declare here, on this machine alone"), _publik_serve)
    inbound.add_argument("file", type=Path)
    checks = one(groups, "receipt", "proofs").add_subparsers(required=True, metavar=of("COMMAND"))
    check = end(one(checks, "check", "verify a receipt of the ledger, offline"), _check)
    check.add_argument("file", type=Path)
    check.add_argument("--key", required=True, help=of("the ledger's key, as the operator gives it"))
    types = one(groups, "type", "event types").add_subparsers(required=True, metavar=of("COMMAND"))
    lists = end(one(types, "list", "every event type"), _type_list)
    shows = end(one(types, "show", "its fields, with types, limits and symbols"), _type_show)
    shows.add_argument("type", help=of("address.changed, or the full name; with /1, the first version"))
    for each in (lists, shows):
        each.add_argument("--json", action="store_true", help=of("for programs"))
    _connectors(one(groups, "connector", "what writes into your own system"), one, end, of)
    _mappings(one(groups, "mapping", "what turns a declaration into your own words"), one, end, of)
    shell = end(one(groups, "completion", "what a shell needs to complete these commands with Tab"), _completion)
    shell.add_argument("shell", choices=completing.SHELLS)
    for _, each in completing.every(top):
        each.formatter_class = formatter
        each._positionals.title, each._optionals.title = of("arguments"), of("options")
        next(one for one in each._actions if one.dest == "help").help = of("show this help and end")
    return top


def _connectors(
    group: argparse.ArgumentParser, one: Callable[..., Any], end: Callable[..., Any], of: Callable[[str], str]
) -> None:
    known = group.add_subparsers(required=True, metavar=of("COMMAND"))
    lists = end(one(known, "list", "every connector that is installed"), _connector_list)
    shows = end(one(known, "describe", "what it guarantees, and its settings"), _connector_describe)
    checks = end(one(known, "check", "try each connector of a file without an effect"), _connector_check)
    tests = end(one(known, "test", "put it through the kit of cases"), _connector_test)
    news = end(one(known, "new", "write the package of a new one, with tests that pass"), _connector_new)
    for each in (shows, tests, news):
        each.add_argument("name", help=of("its kind, such as table"))
    checks.add_argument("file", type=Path, help=of("a file with routes"))
    news.add_argument("--folder", type=Path, help=of("where to write it"))
    for each in (lists, shows, checks, tests, news):
        each.add_argument("--json", action="store_true", help=of("for programs"))


def _mappings(
    group: argparse.ArgumentParser, one: Callable[..., Any], end: Callable[..., Any], of: Callable[[str], str]
) -> None:
    known = group.add_subparsers(required=True, metavar=of("COMMAND"))
    lists = end(one(known, "list", "the mapping files that come with this program"), _mapping_list)
    tests = end(one(known, "test", "run its own tests and its static checks"), _mapping_test)
    shows = end(one(known, "preview", "what each target reads, on which ground, and a row"), _mapping_preview)
    news = end(one(known, "new", "print a first mapping file for a sample"), _mapping_new)
    for each in (tests, shows):
        each.add_argument("file", help=of("a mapping file, or the name of one that comes with this program"))
        each.add_argument("--granted", action="append", default=[], metavar=of("FIELD"),
                          help=of("a granted field; FIELD=TEXT names its ground; repeatable"))  # fmt: skip
    shows.add_argument("--sample", type=Path, help=of("a record in JSON or YAML; by default the catalogue's sample"))
    shows.add_argument("--encoding", help=of("flag the letters that it lacks"))
    shows.add_argument("--width", action="append", default=[], metavar=of("COLUMN=N"),
                       help=of("flag what is longer in this column; repeatable"))  # fmt: skip
    news.add_argument("name", help=of("its name: our-moves"))
    news.add_argument("--from", dest="sample", type=Path, required=True, help=of("a CSV with its header, or JSON"))
    news.add_argument("--type", required=True, help=of("address.changed, or the full name; with /1, the first version"))
    news.add_argument("--in", dest="inbound", action="store_true", help=of("from the sample to a declaration"))
    for each in (lists, tests, shows, news):
        each.add_argument("--json", action="store_true", help=of("for programs"))


class _French(argparse.HelpFormatter):
    """What argparse says around the texts."""

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, "utilisation : " if prefix is None else prefix)


def _one(groups: Any, name: str, text: str, *, of: Callable[[str], str]) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = groups.add_parser(name, help=of(text), description=of(text))
    return made


def _key_new(told: argparse.Namespace) -> None:
    key = key_files.new(told.kind)
    key_files.write(told.file, key)
    _say(key_files.public(key))


def _key_show(told: argparse.Namespace) -> None:
    _say(key_files.public(key_files.read(told.file)))


def _serve(told: argparse.Namespace) -> None:
    asyncio.run(source_serve.serve(told.file, lambda address: _say(f"Running: source. {address}")))


def _publik_serve(told: argparse.Namespace) -> None:
    asyncio.run(publik_serve.serve(told.file, lambda address: _say(f"Running: publik. {address}")))


def _check(told: argparse.Namespace) -> None:
    try:
        text = told.file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise Refused("source.no-file", file=told.file.name) from None
    checked = receipt.check(text, VerifierKey.parse(told.key))
    for label, words in receipt.meaning(checked.facts, told.language):
        _say(f"{label}: {words}")


def _type_list(told: argparse.Namespace) -> None:
    known = builtin()
    width = max(len(each.event_type) for each in known.newest)
    names = (f"{each.event_type:<{width}}  {each.label[told.language]}" for each in known.newest)
    _answer(told.json, {"types": [described.describe(known, each) for each in known.newest]}, names)


def _type_show(told: argparse.Namespace) -> None:
    known = builtin()
    event = described.describe(known, described.find(known, told.type))
    _answer(told.json, event, described.lines(event, told.language))


def _connector_list(told: argparse.Namespace) -> None:
    known = [trying.about(kind) for kind in registry.kinds()]
    lines = (f"{one['kind']:<10}  {one['guarantee'][told.language]}" for one in known)
    _answer(told.json, {"connectors": known}, lines)


def _connector_describe(told: argparse.Namespace) -> None:
    about = trying.about(told.name)
    _answer(told.json, about, trying.lines(about, told.language))


def _connector_check(told: argparse.Namespace) -> None:
    found = trying.checked_file(told.file)
    _answer(told.json, {"checked": trying.problems(found, told.language)}, trying.found_lines(found, told.language))
    if any(one.faults for one in found):
        sys.exit(REFUSED)


def _connector_test(told: argparse.Namespace) -> None:
    done = list(trying.tried(told.name))
    _answer(told.json, {"cases": [trying.plain(one, told.language) for one in done]},
            (trying.line(one, told.language) for one in done))  # fmt: skip
    if any(one.state == "failed" for one in done):
        sys.exit(REFUSED)


def _connector_new(told: argparse.Namespace) -> None:
    written = [str(path) for path in scaffold.write(told.name, told.folder)]
    _answer(told.json, {"written": written}, written)


def _mapping_list(told: argparse.Namespace) -> None:
    names = sorted(packaged())
    _answer(told.json, {"mappings": names}, names)


def _mapping_test(told: argparse.Namespace) -> None:
    mapping = mapping_files.asked(told.file)
    event = builtin().by_type(mapping.event_type)
    found = preview.tested(mapping, event, preview.grounds_of(told.granted) or None, told.language)
    _answer(told.json, found, preview.tested_lines(found, told.language))
    if preview.failed(found):
        sys.exit(REFUSED)


def _mapping_preview(told: argparse.Namespace) -> None:
    mapping = mapping_files.asked(told.file)
    try:
        options = preview.options_of(told.encoding, told.width)
    except ValueError as error:
        sys.stderr.write(f"unefois-agency: {error}\n")
        sys.exit(USAGE)
    given = None if told.sample is None else draft.read(mapping_files.read_sample(told.sample))
    event, grounds = builtin().by_type(mapping.event_type), preview.grounds_of(told.granted) or None
    found = preview.seen(mapping, event, grounds, told.language, given=given, **options)
    _answer(told.json, found, preview.seen_lines(found, told.language))
    if preview.failed(found):
        sys.exit(REFUSED)


def _mapping_new(told: argparse.Namespace) -> None:
    event = described.find(builtin(), told.type)
    text = mapping_draft.drafted(told.name, mapping_files.read_sample(told.sample), event, inbound=told.inbound)
    _answer(told.json, {"mapping": text}, text.splitlines())


def _answer(as_json: bool, document: object, lines: Iterable[str]) -> None:
    for each in [json.dumps(document, ensure_ascii=False, indent=2)] if as_json else lines:
        _say(each)


def _completion(told: argparse.Namespace) -> None:
    _say(completing.script(parser("en"), told.shell).rstrip("\n"))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
