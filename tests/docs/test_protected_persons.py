"""docs/protected-persons.md promises nothing that no test holds."""

import re

from tests.docs.pages import DOCS
from tests.docs.test_trust import missing

PAGE = (DOCS / "protected-persons.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[a-z_/]+\.py(?:::\w+)+)`", PAGE)))
CLAIMS = re.findall(r"^\* (?:.+\n?)(?:^  .+\n?)*", PAGE.partition("\n## What is not")[0], re.MULTILINE)


def test_each_promise_names_a_test_that_is_there() -> None:
    assert len(CLAIMS) > 12
    assert [] == [claim for claim in CLAIMS if "::" not in claim]
    assert [] == missing(NAMED)
