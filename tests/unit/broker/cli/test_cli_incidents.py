"""incidents: what a stolen key has signed and who was told, what left under a mistaken approval, who sends the most."""

from pathlib import Path
from typing import Any

from broker.cli.exits import Exit
from tests.program import FIELDS, Program, grant_and_declare, host
from tests.world import CAF, PORTAL, RENNES


def key_of(unefois: Program, party: str) -> dict[str, Any]:
    """Its newest signing key."""
    (one,) = [each for each in unefois.told("party", "list")["parties"] if each["id"] == party]
    keys: list[dict[str, Any]] = [key for key in one["keys"] if key["use"] == "signing"]
    return max(keys, key=lambda key: str(key["valid_from"]))


def subscription_of(unefois: Program, party: str) -> str:
    found = [one for one in unefois.told("subscribe", "list")["subscriptions"] if one["recipient"] == party]
    told: str = found[0]["id"]
    return told


def test_what_a_key_signed_is_told_with_everybody_who_could_open_it(
    unefois: Program, elise: Path, move: Path, tmp_path: Path
) -> None:
    host(unefois, tmp_path)
    first = grant_and_declare(unefois, elise, move, *FIELDS)
    unefois.told("run", "--once")
    stolen = key_of(unefois, PORTAL)["kid"]
    unefois.told("party", "rotate", PORTAL)
    second = unefois.told("declare", move, "--type", "address.changed")["declaration"]

    told = unefois.told("party", "signed", stolen)
    assert (PORTAL, 1, 1, [first]) == (
        told["party"],
        told["persons"],
        told["not_routed"],
        [one["declaration"] for one in told["declarations"]],
    )
    (to_rennes,) = [one for one in told["declarations"][0]["told"] if one["recipient"] == RENNES]
    assert ("done", True) == (to_rennes["progress"], to_rennes["released_at"] is not None)
    assert [(RENNES, 1)] == [(one["party"], one["declarations"]) for one in told["opened_by"]]
    assert told["opened_by"][0]["contact"]
    unefois.told("run", "--once")
    newest = unefois.told("party", "signed", key_of(unefois, PORTAL)["kid"])
    assert ([second], 0) == ([one["declaration"] for one in newest["declarations"]], newest["not_routed"])

    shown = unefois.run("party", "signed", stolen).stdout
    assert first in shown
    assert second not in shown
    assert "Who could open some of them:" in shown
    assert [] == unefois.told("party", "signed", stolen, "--since", "2999-01-01T00:00:00Z")["declarations"]
    assert "registrar.unknown-key" == unefois.error("party", "signed", "0" * 64, code=Exit.REFUSED)["code"]


def test_what_was_opened_under_a_subscription_is_told_and_what_was_only_planned_is_not(
    unefois: Program, elise: Path, move: Path, tmp_path: Path
) -> None:
    declared = grant_and_declare(unefois, elise, move, *FIELDS)
    unefois.told("run", "--once")
    of = subscription_of(unefois, RENNES)
    assert [] == unefois.told("subscribe", "released", of)["deliveries"]  # nobody has pulled it
    assert "deliveries opened" in unefois.run("subscribe", "released", of).stdout

    host(unefois, tmp_path)
    unefois.told("run", "--once")
    told = unefois.told("subscribe", "released", of)
    (left,) = told["deliveries"]
    assert (RENNES, 1, declared) == (told["recipient"], told["persons"], left["declaration"])
    assert (sorted(FIELDS), "done", PORTAL) == (sorted(left["fields"]), left["progress"], left["source"])
    assert left["declaration"] in unefois.run("subscribe", "released", of).stdout
    assert [] == unefois.told("subscribe", "released", of, "--since", "2999-01-01T00:00:00Z")["deliveries"]
    assert [] == unefois.told("subscribe", "released", subscription_of(unefois, CAF))["deliveries"]
    assert "subscribing.unknown" == unefois.error("subscribe", "released", "0" * 32, code=Exit.REFUSED)["code"]


def test_the_busiest_source_is_at_the_top(unefois: Program, move: Path) -> None:
    assert {"since": None, "sources": []} == unefois.told("party", "busiest")
    unefois.told("party", "allow", CAF, "address.changed")
    for source in (CAF, PORTAL, PORTAL):
        unefois.told("declare", move, "--type", "address.changed", "--source", source)
    unefois.told("run", "--once")

    told = unefois.told("party", "busiest")
    assert [(PORTAL, 2), (CAF, 1)] == [(one["party"], one["declarations"]) for one in told["sources"]]
    assert told["since"] is not None
    assert PORTAL in unefois.run("party", "busiest").stdout
    newest = unefois.told("party", "busiest", "--last", 2)
    assert [(PORTAL, 2)] == [(one["party"], one["declarations"]) for one in newest["sources"]]


def test_a_source_that_was_stopped_gets_again_what_was_taken_at_once_and_nothing_else(
    unefois: Program, move: Path
) -> None:
    unefois.told("party", "forbid", PORTAL, "bank-account.changed", "--yes")
    taken = unefois.told("party", "forbid", PORTAL, "--yes")["ended"]
    assert "fr.unefois.bank-account.changed.v1" not in taken

    again = unefois.told("party", "allow", PORTAL)
    assert set(taken) == {one["event_type"] for one in again["publishes"] if one["to"] is None}
    unefois.told("declare", move, "--type", "address.changed", "--source", PORTAL)
    assert "registrar.nothing-ended" == unefois.error("party", "allow", PORTAL, code=Exit.REFUSED)["code"]
    assert "registrar.nothing-ended" == unefois.error("party", "allow", RENNES, code=Exit.REFUSED)["code"]
    assert unefois.told("fsck")["clean"]
