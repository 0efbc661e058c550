"""How many examples a property is tried with: some each time; many, and not always the same, as a proof."""

import os

from hypothesis import settings

MORE = 20 if os.environ.get("UNEFOIS_PROOF") == "1" else 1
"""What a proof multiplies them by."""


def examples(usual: int) -> settings:
    """So many examples of a property, without a deadline: a slow machine is no failure."""
    return settings(max_examples=usual * MORE, deadline=None)
