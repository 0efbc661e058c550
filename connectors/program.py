"""`unefois-agency`: the agency's side on a command line of its own, where the broker is not installed.

    unefois-agency key new FILE --kind x25519        a private key, and the line for the broker's operator
    unefois-agency key show FILE                     that line again
    unefois-agency source serve FILE                 the signing sidecar
    unefois-agency publik serve FILE                 forms of Publik become declarations
    unefois-agency receipt check FILE --key KEY      verify a receipt of the ledger, offline
    unefois-agency type list                         every event type
    unefois-agency type show TYPE                    its fields, with types, limits and symbols; --json for programs
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

from connectors import completing, key_files, source_serve
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
    shell = end(one(groups, "completion", "what a shell needs to complete these commands with Tab"), _completion)
    shell.add_argument("shell", choices=completing.SHELLS)
    for _, each in completing.every(top):
        each.formatter_class = formatter
        each._positionals.title, each._optionals.title = of("arguments"), of("options")
        next(one for one in each._actions if one.dest == "help").help = of("show this help and end")
    return top


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


def _answer(as_json: bool, document: object, lines: Iterable[str]) -> None:
    for each in [json.dumps(document, ensure_ascii=False, indent=2)] if as_json else lines:
        _say(each)


def _completion(told: argparse.Namespace) -> None:
    _say(completing.script(parser("en"), told.shell).rstrip("\n"))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
