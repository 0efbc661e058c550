"""Quotas and addresses by themselves: bounded, exact, and no stranger's word about where they come from is believed."""

import pytest

from broker.web.common import limits
from broker.web.common.limits import Quota
from broker.web.common.proxies import UNKNOWN, Proxies
from schemas.errors import Refused
from tests.world import Clock


def test_no_two_bursts_meet_at_a_full_minute() -> None:
    clock = Clock()
    quota = Quota("client", 60, clock)
    clock.pass_(59_000)
    for _ in range(60):
        quota.take("a")
    clock.pass_(2_000)
    assert [1, 0] == [quota.take("a").left for _ in range(2)]
    with pytest.raises(Refused):
        quota.take("a")


def test_what_costs_more_is_charged_before_and_refused_with_the_time_until_there_is_so_much() -> None:
    clock = Clock()
    quota = Quota("client", 60, clock)
    assert 20 == quota.take("a", 40).left
    with pytest.raises(Refused) as refused:
        quota.take("a", 30)
    assert (10, 20) == (refused.value.details["after"], quota.standing("a").left)
    clock.pass_(10_000)
    assert 0 == quota.take("a", 30).left
    clock.pass_(60_000)
    assert 0 == quota.take("a", 1_000).left  # never more than there can be


def test_what_is_owed_is_charged_whatever_is_left_and_never_for_longer_than_a_window() -> None:
    clock = Clock()
    quota = Quota("client", 60, clock)
    assert [50, 0, 0] == [quota.owe("a", cost).left for cost in (10, 1_000, 1)]
    clock.pass_(60_000)
    assert 60 == quota.standing("a").left


def test_a_clock_that_goes_back_keeps_nobody_out_for_longer_than_a_window() -> None:
    clock = Clock()
    quota = Quota("client", 1, clock)
    quota.take("a")
    clock.pass_(-86_400_000)
    with pytest.raises(Refused) as refused:
        quota.take("a")
    assert 60 == refused.value.details["after"]
    clock.pass_(60_000)
    assert 0 == quota.take("a").left


def test_what_is_remembered_is_bounded_and_who_came_last_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEYS", 2)
    quota = Quota("address", 1, Clock())
    for key in ("a", "b"):
        quota.take(key)
    with pytest.raises(Refused):
        quota.take("a")
    quota.take("c")
    assert [0, 1, 0] == [quota.standing(key).left for key in ("a", "b", "c")]


@pytest.mark.parametrize(
    ("peer", "told", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),  # a stranger's own word
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.7"], "198.51.100.7"),  # what stands before it the stranger wrote
        ("10.0.0.1", ["1.2.3.4", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["1.2.3.4, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("2001:db8:1:2:3::4", [], "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", [], "2001:db8:1:2::"),
        ("unix", ["198.51.100.7"], UNKNOWN),
        (None, ["198.51.100.7"], UNKNOWN),
    ],
)
def test_the_address_is_the_connections_unless_a_trusted_proxy_tells_another(
    peer: str | None, told: list[str], address: str
) -> None:
    headers = [(b"x-forwarded-for", text.encode()) for text in told]
    scope = {"type": "http", "headers": headers, "client": None if peer is None else (peer, 1)}
    proxies = Proxies(("10.0.0.0/8",))
    assert address == proxies.address(scope)
    assert (peer in {"10.0.0.1", "::ffff:10.0.0.1"}) == proxies.trusts(scope)
