"""docs/portals.md promises nothing that no test holds, and counts no lines that are not there."""

import re

from broker.settings.choices import Settings
from tests.docs.pages import DOCS, ROOT
from tests.docs.test_trust import missing

PAGE = (DOCS / "portals.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[a-z_/]+\.py(?:::\w+)+)`", PAGE)))
CAN = PAGE.partition("*They can:*")[2].partition("\nIf it happens")[0]
CLAIMS = re.findall(r"^\* (?:.+\n?)(?:^  .+\n?)*", CAN, re.MULTILINE)


def test_each_thing_that_can_or_cannot_be_done_names_a_test_that_is_there() -> None:
    assert len(CLAIMS) > 10
    assert [] == [claim for claim in CLAIMS if "::" not in claim]
    assert [] == missing(NAMED)


def test_the_settings_are_there_and_the_example_is_as_short_as_it_says() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    lines = (ROOT / "examples/portal/portal.py").read_text("utf-8").splitlines()

    assert [] == [name for name in rows if name not in Settings.model_fields]
    assert f"in {len(lines)} lines" in PAGE
