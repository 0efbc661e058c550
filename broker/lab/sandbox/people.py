"""People: the citizens of the sandbox, none of whom exists, and what they declare.

Refuses: a name that could be somebody's; a change of a field that the type does not have.
Keeps: one word makes one person: their family name, their street and their e-mail address all hold it, so that where
the word is found, the person's news have come.
"""

from collections.abc import Mapping
from typing import Any, Final

from schemas.errors import Refused
from schemas.names import EventType
from schemas.samples import sample

STREET: Final = "rue"
_WORD: Final = 12


def check_word(word: str) -> str:
    """A citizen's word: 3 to 12 small letters. Raises Refused `sandbox.citizen`."""
    if not (3 <= len(word) <= _WORD and word.isascii() and word.isalpha() and word.islower()):
        raise Refused("sandbox.citizen", "/citizen", limit=_WORD)
    return word


def identity(word: str) -> dict[str, Any]:
    """The pivot identity of the person."""
    return {
        "family_name": word.capitalize(),
        "given_names": ["Alix"],
        "birthdate": "1984-02-29",
        "gender": "female",
        "birthplace": "35238",
        "birthcountry": "99100",
    }


def email(word: str) -> str:
    """Their address for e-mail, or another one that a word stands for."""
    return f"{word}@example.org"


def street(word: str) -> str:
    """Their street, or another one."""
    return f"{STREET} {word.capitalize()}"


def record(event_type: EventType, word: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What they declare: the type's sample, made theirs. Raises Refused `samples.none`, `sandbox.field`."""
    told = sample(event_type)
    told |= {"subject": identity(word), "declarant": None, "capacity": "self"}
    if "new_address" in told:
        told["new_address"] = {**told["new_address"], "street": street(word)}
    if "email" in told:
        told["email"] = email(word)
    for name, value in changes.items():
        if name not in told:
            raise Refused("sandbox.field", f"/changes/{name}" if name.isidentifier() else "/changes", type=event_type)
        inner = isinstance(value, Mapping) and isinstance(told[name], dict)
        told[name] = {**told[name], **value} if inner else value
    return told
