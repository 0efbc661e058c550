"""`unefois-agency`: the agency's side on a command line of its own, where the broker is not installed.

    unefois-agency key new FILE --kind x25519        a private key, and the line for the broker's operator
    unefois-agency key show FILE                     that line again
    unefois-agency source serve FILE                 the signing sidecar
    unefois-agency receipt check FILE --key KEY      verify a receipt of the ledger, offline
    unefois-agency type list                         every event type
    unefois-agency type show TYPE                    its fields, with types, limits and symbols; --json for programs

Refuses: nothing of its own.
Keeps: an error is its code and its place, what is wrong and what to do, on stderr, in the language of the machine.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from connectors import key_files, source_serve
from schemas import described, receipt
from schemas.catalogue import builtin
from schemas.errors import Fault, Refused
from schemas.messages import Language, explain
from schemas.note import VerifierKey

USAGE: Final = 2
REFUSED: Final = 1


def main(words: Sequence[str] | None = None) -> None:
    """Run a command line to its end; raises SystemExit with 0, 1 (refused, or away) or 2 (not understood)."""
    told = _parser().parse_args(words)
    try:
        told.run(told)
    except Fault as fault:
        for each in (fault, *fault.also):
            message = explain(each, _language())
            place = " ".join(str(part) for part in (each.details.get("file"), each.pointer) if part)
            remedy = message.remedy.replace("`unefois type ", "`unefois-agency type ")  # both programs have it
            sys.stderr.write(f"{each.code}  {place}".rstrip() + f"\n  {message.wrong}\n  {remedy}\n")
        sys.exit(REFUSED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("unefois-agency", description="Unefois, the agency's side.")
    groups = parser.add_subparsers(required=True, metavar="GROUP")
    key = groups.add_parser("key", help="private keys in files").add_subparsers(required=True, metavar="COMMAND")
    new = key.add_parser("new", help="make one; the line for the broker's operator is printed")
    new.add_argument("file", type=Path)
    new.add_argument("--kind", choices=sorted(key_files.KINDS), required=True)
    new.set_defaults(run=_key_new)
    show = key.add_parser("show", help="the line for the broker's operator")
    show.add_argument("file", type=Path)
    show.set_defaults(run=_key_show)
    source = groups.add_parser("source", help="declare").add_subparsers(required=True, metavar="COMMAND")
    serve = source.add_parser("serve", help="the signing sidecar, on this machine alone")
    serve.add_argument("file", type=Path)
    serve.set_defaults(run=_serve)
    checks = groups.add_parser("receipt", help="proofs").add_subparsers(required=True, metavar="COMMAND")
    check = checks.add_parser("check", help="verify a receipt of the ledger, offline")
    check.add_argument("file", type=Path)
    check.add_argument("--key", required=True, help="the ledger's key, as the operator gives it")
    check.set_defaults(run=_check)
    _add_types(groups.add_parser("type", help="event types").add_subparsers(required=True, metavar="COMMAND"))
    return parser


def _add_types(types: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    lists = types.add_parser("list", help="every event type")
    lists.set_defaults(run=_type_list)
    show = types.add_parser("show", help="its fields, with types, limits and symbols")
    show.add_argument("type", help="address.changed, or the full name; with /1, the first version")
    show.set_defaults(run=_type_show)
    for each in (lists, show):
        each.add_argument("--json", action="store_true", help="for programs")
        each.add_argument("--lang", choices=("fr", "en"), help="default: the language of the machine")


def _key_new(told: argparse.Namespace) -> None:
    key = key_files.new(told.kind)
    key_files.write(told.file, key)
    _say(key_files.public(key))


def _key_show(told: argparse.Namespace) -> None:
    _say(key_files.public(key_files.read(told.file)))


def _serve(told: argparse.Namespace) -> None:
    asyncio.run(source_serve.serve(told.file, lambda address: _say(f"Running: source. {address}")))


def _check(told: argparse.Namespace) -> None:
    try:
        text = told.file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise Refused("source.no-file", file=told.file.name) from None
    checked = receipt.check(text, VerifierKey.parse(told.key))
    for label, words in receipt.meaning(checked.facts, _language()):
        _say(f"{label}: {words}")


def _type_list(told: argparse.Namespace) -> None:
    known = builtin()
    width = max(len(each.event_type) for each in known)
    names = (f"{each.event_type:<{width}}  {each.label[told.lang or _language()]}" for each in known)
    _answer(told.json, {"types": [described.describe(known, each) for each in known]}, names)


def _type_show(told: argparse.Namespace) -> None:
    known = builtin()
    event = described.describe(known, described.find(known, told.type))
    _answer(told.json, event, described.lines(event, told.lang or _language()))


def _answer(as_json: bool, document: object, lines: Iterable[str]) -> None:
    for each in [json.dumps(document, ensure_ascii=False, indent=2)] if as_json else lines:
        _say(each)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _language() -> Language:
    locale = next((told for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (told := os.environ.get(name))), "")
    return "fr" if locale.lower().startswith("fr") else "en"
