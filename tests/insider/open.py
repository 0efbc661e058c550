"""Attacks of an insider that still work, and what each gives: the one place where they are marked.

    LET_IN     a door opened for who has no key to it
    VALUE      a field's key reached somebody who is not entitled to that field
    SIGNED     the ledger's signature stands under an insider's word
    RELEASE    the ledger tells of a release that nobody is entitled to, or a statement says what nobody agreed to
    ENDLESS    what had ended lives again, or cannot be ended
    FORK       the ledger was signed as another history under the same name
    KEYS_GONE  a key that is needed left the key store
    IDENTITY   who a citizen is can be read
    UNNOTICED  no alarm while it stood, and neither fsck nor the public audit finds it afterwards

Keeps: a defence that lands makes the test of its attack fail until the name is gone from here, or says less. What is
not here gives nothing.
"""

from typing import Final

LET_IN, VALUE, RELEASE, ENDLESS, SIGNED = "let in", "value", "release", "endless", "signed"
FORK, KEYS_GONE, IDENTITY, UNNOTICED = "fork", "keys gone", "identity", "unnoticed"

OPEN: Final[dict[str, frozenset[str]]] = {
    "delivery: applied, to pending, its last step hidden": frozenset({RELEASE}),
}
