"""webhook: registered with a secret shown once, listed, rotated, proven anew, ended, by its id."""

from broker.cli.exits import Exit
from tests.program import Program
from tests.world import CAF, CPAM

URL = "https://caf.example/hook"


def test_a_webhook_is_registered_listed_rotated_and_ended(unefois: Program) -> None:
    added = unefois.told("webhook", "add", CAF, URL, "--symmetric")
    secret = added.pop("secret")
    (listed,) = unefois.told("webhook", "list", "--party", CAF)["webhooks"]
    rotated = unefois.told("webhook", "rotate", added["id"], "--overlap-hours", 1)
    ended = unefois.told("webhook", "end", added["id"])

    assert ("proving", True, added) == (added["status"], secret.startswith("whsec_"), listed)
    assert added["public_keys"] == rotated["public_keys"][1:]
    assert secret != rotated["secret"]
    assert secret not in unefois.run("webhook", "list").stdout
    assert ("ended", None) == (ended["status"], ended["next_at"])
    assert [] == unefois.told("webhook", "list", "--party", CPAM)["webhooks"]
    assert "webhooks.ended" == unefois.error("webhook", "prove", added["id"], code=Exit.REFUSED)["code"]
    assert unefois.told("fsck")["clean"]


def test_what_is_no_webhook_and_no_address_is_refused(unefois: Program) -> None:
    for command in ("prove", "rotate", "end", "attempts"):
        assert "webhooks.unknown" == unefois.error("webhook", command, "0" * 32, code=Exit.REFUSED)["code"]
    assert "outbound.url" == unefois.error("webhook", "add", CAF, "http://a.example/", code=Exit.REFUSED)["code"]


def test_the_machine_sends_the_challenge_and_what_came_of_it_is_shown(unefois: Program) -> None:
    added = unefois.told("webhook", "add", CAF, "https://127.0.0.1:9443/hook")
    unefois.run("run", "--once", "--json")
    (attempt,) = unefois.told("webhook", "attempts", added["id"])["attempts"]
    (listed,) = unefois.told("webhook", "list")["webhooks"]

    assert ("webhook.challenge", None, "outbound.address") == (attempt["type"], attempt["status"], attempt["code"])
    assert ("proving", 1) == (listed["status"], listed["attempts"])
