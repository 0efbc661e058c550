"""A form of Publik is moved once by each delivery: by a trigger, which is gone then, or by a hook, which stays."""

from typing import Any

import pytest

from connectors.contract import Applied, Reject, Retry, Unknown
from connectors.publik.connector import OVER_MS
from schemas.errors import Fault, Refused
from tests.publik import server
from tests.publik.desk import AGENTS, NOW, SLUG, Desk
from tests.publik.site import Formdata, Jump

pytestmark = pytest.mark.asyncio
TRIGGER: dict[str, Any] = {"action": "trigger", "name": "fait", "field": "nom", "access": "agents"}
HOOK: dict[str, Any] = TRIGGER | {"action": "hook", "name": "note"}
ROW = {"nom": "D-7", "decision": "oui"}


@pytest.fixture(autouse=True)
def waiting(desk: Desk) -> Formdata:
    """One form that waits for us, and another."""
    desk.targets = tuple(ROW)
    desk.form.triggers = {"fait": Jump("new", "done", AGENTS)}
    desk.form.hooks = {"note": Jump(None, None, AGENTS)}
    desk.form.data += [Formdata(one, SLUG, str(one), NOW, {"nom": f"D-{one}"}) for one in (6, 7)]
    return desk.form.data[1]


def posts(desk: Desk) -> int:
    return sum(method == "POST" for method, _ in desk.site.asked)


async def test_a_trigger_moves_the_one_form_and_says_what_it_has_to(desk: Desk, waiting: Formdata) -> None:
    delivery = desk.delivery()
    async with desk.opened(**TRIGGER) as connector:
        assert "7" == await connector.write(delivery, ROW)
        assert "7" == await connector.write(delivery, ROW)
        assert Applied("7") == await connector.find(delivery.delivery_id)
    told = {"decision": "oui", f"unefois_{delivery.delivery_id.hex()}": True}
    assert ("done", told, 1) == (waiting.status, waiting.workflow_data, posts(desk))
    assert ("new", {}) == (desk.form.data[0].status, desk.form.data[0].workflow_data)


@pytest.mark.parametrize("more", [TRIGGER, HOOK])
@pytest.mark.parametrize("fault", [server.lost, server.half, server.says(200, b"<html>", done=True)])
async def test_an_answer_that_was_lost_moves_it_no_second_time(
    desk: Desk, waiting: Formdata, more: dict[str, Any], fault: server.Fault
) -> None:
    delivery = desk.delivery()
    async with desk.opened(**more) as connector:
        desk.served.faults.extend([None, fault])
        with pytest.raises(Unknown):
            await connector.write(delivery, ROW)
        assert "7" == await connector.write(delivery, ROW)
    (desk.folder / "publik.db").unlink()
    async with desk.opened(**more) as connector:  # the mark is in Publik: no journal is needed
        assert "7" == await connector.write(delivery, ROW)
    assert (1, 1) == (posts(desk), len(waiting.evolution))


async def test_two_hooks_leave_both_marks_and_one_waits_for_the_other(desk: Desk, waiting: Formdata) -> None:
    one, two = desk.delivery(), desk.delivery()
    async with desk.opened(**HOOK) as connector:
        desk.served.faults.extend([None, server.late])
        with pytest.raises(Unknown):
            await connector.write(one, ROW)
        with pytest.raises(Retry) as later:
            await connector.write(two, ROW)
        assert ("publik.may-arrive", OVER_MS) == (later.value.code, later.value.after_ms)
        desk.pass_by(120)
        desk.served.late.pop()()
        desk.pass_by(31)
        await connector.write(two, ROW)
        (desk.folder / "publik.db").unlink()
    async with desk.opened(**HOOK) as connector:
        await connector.write(one, ROW)
    marks = {f"unefois_{each.delivery_id.hex()}" for each in (one, two)}
    assert (marks | {"decision"}, 2) == (set(waiting.workflow_data["note"]), len(waiting.evolution))


async def test_what_may_have_moved_is_not_refused_when_it_is_found_no_more(desk: Desk, waiting: Formdata) -> None:
    delivery = desk.delivery()
    async with desk.opened(**TRIGGER) as connector:
        desk.served.faults.extend([None, server.lost])
        with pytest.raises(Unknown):
            await connector.write(delivery, ROW)
        waiting.values["nom"] = "D-8"  # an agent, meanwhile
        with pytest.raises(Retry) as later:
            await connector.write(delivery, ROW)
    assert ("publik.no-formdata", "done") == (later.value.code, waiting.status)


async def test_a_form_that_is_not_in_the_status_is_waited_for(desk: Desk, waiting: Formdata) -> None:
    delivery, waiting.status = desk.delivery(), "elsewhere"
    async with desk.opened(**TRIGGER) as connector:
        with pytest.raises(Retry) as not_now:
            await connector.write(delivery, ROW)
        waiting.busy = True
        with pytest.raises(Retry) as busy:
            await connector.write(delivery, ROW)
        assert ("publik.not-now", "publik.busy") == (not_now.value.code, busy.value.code)
        waiting.busy, waiting.status = False, "new"
        assert "7" == await connector.write(delivery, ROW)


@pytest.mark.parametrize(
    ("row", "names", "code"),
    [
        ({"nom": "D-9"}, ["D-6", "D-7"], "publik.no-formdata"),
        ({"nom": "D-7"}, ["D-7", "D-7"], "publik.several-formdata"),
        ({"nom": "7"}, ["007", "0007"], "publik.no-formdata"),  # w.c.s. finds both: digits are a number there
        ({"nom": ""}, ["", ""], "publik.value"),
        ({"nom": None}, ["", ""], "publik.value"),
        ({"nom": "D-7", "decision": "a\0"}, ["D-6", "D-7"], "publik.value"),
    ],
)
async def test_nothing_is_moved_where_not_exactly_one_is_meant(
    desk: Desk, row: dict[str, Any], names: list[str], code: str
) -> None:
    for one, name in zip(desk.form.data, names, strict=True):
        one.values["nom"] = name
    async with desk.opened(**TRIGGER) as connector:
        with pytest.raises(Reject) as refused:
            await connector.write(desk.delivery(), row)
    assert (code, 0) == (refused.value.code, posts(desk))


async def test_a_form_is_found_by_a_text_with_every_sign_in_it(desk: Desk, waiting: Formdata) -> None:
    waiting.values["nom"] = wild = "é'\"<b>&filter-nom=D-6?=#%25+;|{{ x }}\\ ' OR 1=1 --"
    async with desk.opened(**TRIGGER) as connector:
        await connector.write(desk.delivery(), {"nom": wild, "decision": wild})
    assert ("done", wild) == (waiting.status, waiting.workflow_data["decision"])


async def test_a_mapping_that_names_no_form_is_told_before(desk: Desk) -> None:
    desk.targets = ("decision",)
    with pytest.raises(Refused) as refused:
        async with desk.opened(**TRIGGER):
            pass
    assert ("publik.find-by", "/field") == (refused.value.code, refused.value.pointer)


async def test_a_category_in_the_form_s_address_is_kept(desk: Desk, waiting: Formdata) -> None:
    ordinary = desk.site._urls

    def with_category(one: Formdata) -> dict[str, str]:
        told = ordinary(one)
        return told | {"url": told["url"].replace(f"/{SLUG}/7/", f"/vie-locale/{SLUG}/A-7/")}

    desk.site._urls = with_category  # type: ignore[method-assign]
    async with desk.opened(**TRIGGER) as connector:
        with pytest.raises(Fault):
            await connector.write(desk.delivery(), ROW)
    assert ("POST", f"/vie-locale/{SLUG}/7/jump/trigger/fait") == desk.site.asked[-1]
