"""Command about codes: `unefois code`, a way in for a citizen who has no FranceConnect.

Refuses: a citizen's name as a word of the command line.
Keeps: nothing of its own; `broker.services.citizens.codes` does it. The code is shown once.
"""

import typer

from broker.cli.frame import command
from broker.cli.grants import PersonOption, document_of
from broker.cli.session import at_home
from broker.cli.show import answer, pairs


def register(root: typer.Typer) -> None:
    """Add the command to the root."""
    command(root, "code")(give)


def give(*, person: PersonOption) -> None:
    """Give a code to a person whose document you have seen, so that they can sign in without FranceConnect.

    It is shown once, works once, within 72 hours, for this person alone. Hand it over on paper; it is kept nowhere.

    Example: unefois code --person elise-martin.yaml
    """
    from broker.services.citizens import codes
    from broker.shapes import time_of

    document = document_of(person)
    made = at_home(lambda home: codes.give(home, document))
    told = {"code": made.code, "expires_at": time_of(made.expires_at)}
    answer(told, lambda: pairs((("code", made.code), ("good until", told["expires_at"]))))
