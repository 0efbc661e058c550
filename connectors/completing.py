"""Completing: what a shell is told so that Tab completes the commands and options of `unefois-agency`.

Refuses: nothing.
Keeps: the text holds every word of the program that wrote it, and asks nobody when Tab is pressed; after an update it
is printed anew. Its words are the parser's: letters, digits and dashes.
"""

import argparse
from collections.abc import Iterator
from typing import Final

SHELLS: Final = ("bash", "zsh", "fish")
PROGRAM: Final = "unefois-agency"
_BASH: Final = """_unefois_agency() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} path="" word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$path $word" in %(paths)s) path="$path $word" ;; esac
    done
    case "$path $before" in
%(values)s
    esac
    case "$path" in
%(words)s
    esac
}
complete -o default -F _unefois_agency unefois-agency
"""
_ZSH: Final = "#compdef unefois-agency\nautoload -U +X bashcompinit && bashcompinit\n"


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The text for one of SHELLS."""
    if shell == "fish":
        return "".join(_fish(parser))
    told = {
        "paths": "|".join(f'" {path}"' for path, _ in every(parser) if path),
        "values": "\n".join(_values(parser)),
        "words": "\n".join(f'        "{_spaced(path)}") {_reply(_words(one))} ;;' for path, one in every(parser)),
    }
    return (_ZSH if shell == "zsh" else "") + _BASH % told


def every(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every parser by the words that lead to it."""
    yield path, parser
    for word, below in _below(parser).items():
        yield from every(below, f"{path} {word}".strip())


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return {word: one for action in found for word, one in action.choices.items()}


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [each for each in parser._actions if each.option_strings]


def _words(parser: argparse.ArgumentParser) -> str:
    """What may come next: a command, a value of a closed list, an option."""
    values = [value for each in parser._actions if not each.option_strings for value in _choices(each)]
    return " ".join([*_below(parser), *values, *(each.option_strings[-1] for each in _options(parser))])


def _choices(action: argparse.Action) -> list[str]:
    closed = action.choices is not None and not isinstance(action, argparse._SubParsersAction)
    return [str(each) for each in action.choices or ()] if closed else []


def _values(parser: argparse.ArgumentParser) -> Iterator[str]:
    """After an option with a closed list, its values."""
    for path, one in every(parser):
        for option in _options(one):
            if values := _choices(option):
                yield f'        "{_spaced(path)} {option.option_strings[-1]}") {_reply(" ".join(values))}; return ;;'


def _reply(words: str) -> str:
    return f'COMPREPLY=($(compgen -W "{words}" -- "$current"))'


def _spaced(path: str) -> str:
    return f" {path}" if path else ""


def _fish(parser: argparse.ArgumentParser) -> Iterator[str]:
    for path, one in every(parser):
        words, below = path.split(), " ".join(_below(one))
        here = [f"__fish_seen_subcommand_from {word}" for word in words]
        begin = f"complete -c {PROGRAM}"
        if below:
            when = "; and ".join([*here, f"not __fish_seen_subcommand_from {below}"])
            yield f"{begin} -f -n '{when}' -a '{below}'\n"
        for option in _options(one):
            when = f" -n '{'; and '.join(here)}'" if here else ""
            values = f" -xa '{' '.join(_choices(option))}'" if _choices(option) else ""
            yield f"{begin}{when} -l {option.option_strings[-1].removeprefix('--')}{values}\n"
        for value in (value for each in one._actions if not each.option_strings for value in _choices(each)):
            yield f"{begin} -f -n '{'; and '.join(here)}' -a {value}\n"
