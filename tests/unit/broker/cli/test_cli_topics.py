"""topics: who is served by topics is said, listed and ended; a principal is one administration's."""

from broker.cli.exits import Exit
from tests.program import Program
from tests.world import CAF, CPAM


def test_an_administration_is_served_by_topics_until_that_ends(unefois: Program) -> None:
    allowed = unefois.told("topics", "allow", CAF, "--principal", "caf", "--receives")
    listed = unefois.told("topics", "list")["users"]

    assert [allowed] == listed
    assert (["deliveries.unefois-caf"], None) == (allowed["topics"], allowed["ended_at"])
    assert (
        "topics.principal-taken"
        == unefois.error("topics", "allow", CPAM, "--principal", "caf", "--declares", code=Exit.REFUSED)["code"]
    )
    assert unefois.told("topics", "end", CAF)["ended_at"] is not None
    assert "topics.not-served" == unefois.error("topics", "end", CAF, code=Exit.REFUSED)["code"]
    assert unefois.told("fsck")["clean"]


def test_a_source_has_a_topic_to_write_one_for_receipts_and_one_for_what_was_refused(unefois: Program) -> None:
    told = unefois.told("topics", "allow", CPAM, "--principal", "cpam", "--declares", "--receives")

    names = ("declarations.unefois-cpam", "declarations.unefois-cpam.dead", "receipts.unefois-cpam")
    assert [*names, "deliveries.unefois-cpam"] == told["topics"]
