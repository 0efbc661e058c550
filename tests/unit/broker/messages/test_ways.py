"""Ways: an SMS gateway that is strict takes what the template says; what is wrong is told by a code and a number."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from broker.messages.addresses import ChannelKind
from broker.messages.mail import MailServer
from broker.messages.sending import LEASE_MS
from broker.messages.ways import ByHttp, ByMail, Message, Template, Written
from broker.outbound import Outbound
from broker.settings.check import check
from broker.settings.choices import load
from broker.setup import parts
from schemas.errors import Refused, Unavailable
from schemas.names import Instant
from tests.services.gateway import TOKEN, Gateway, answering
from tests.services.mailserver import Desk, serving
from tests.told import EMAIL, FROM, MOBILE, held, line_of, tell, with_ways
from tests.world import MOVED, World, settings

AT = Instant(1_795_521_493_000)
SMS = Message("0" * 32, "+33612345678", "", 'Un "texte"\nà \\ {id} & 50 % é', AT)


def template(**more: Any) -> Template:
    told: dict[str, Any] = {
        "url": "https://sms.example/v1/sms",
        "method": "POST",
        "body": '{"to": "{to}", "text": "{text}", "id": "{id}"}',
        "form": "json",
        "headers": {"Authorization": "Bearer {token}"},
        "success": (202,),
        "token": "s3cret",
    }
    return Template(**told | more)


def way(port: int, **more: Any) -> ByHttp:
    return ByHttp(Outbound([f"127.0.0.1:{port}"]), template(url=f"http://127.0.0.1:{port}/v1/sms", **more))


def test_what_is_put_into_a_template_is_escaped_once_and_not_looked_at_again() -> None:
    filled = json.loads(template().filled(SMS))

    assert {"to": SMS.to, "text": SMS.text, "id": SMS.id} == filled
    form = template(form="form", body="to={to}&msg={text}").filled(SMS)
    assert b"to=%2B33612345678&msg=Un+%22texte%22%0A%C3%A0+%5C+%7Bid%7D+%26+50+%25+%C3%A9" == form
    assert {"content-type": "application/json", "authorization": TOKEN} == template().headed()


@pytest.mark.asyncio
async def test_a_strict_gateway_takes_it_and_the_same_id_again_is_one_sms() -> None:
    gateway = Gateway()
    with answering(gateway) as port:
        for _ in range(2):
            await way(port).send(SMS)
        await way(port).look()

    assert {SMS.id: (SMS.to, SMS.text)} == gateway.sent
    assert ["HEAD /v1/sms"] == gateway.refused


@pytest.mark.asyncio
async def test_another_status_is_a_refusal_told_by_its_number() -> None:
    gateway = Gateway()
    with answering(gateway) as port:
        for wrong in ({"token": "other"}, {"body": '{"to": "{to}", "text": "{text}"}'}, {"method": "PUT"}):
            with pytest.raises(Unavailable) as refused:
                await way(port, **wrong).send(SMS)
            assert ("sms.refused", {"status": 400}) == (refused.value.code, dict(refused.value.details))
    assert ["headers", "members", "PUT /v1/sms"] == gateway.refused


@pytest.mark.asyncio
async def test_a_gateway_that_is_gone_and_an_address_inside_are_told_as_such() -> None:
    with answering(Gateway()) as port:
        pass
    with pytest.raises(Unavailable, match=r"outbound.away"):
        await way(port).send(SMS)
    with pytest.raises(Unavailable, match=r"outbound.away"):
        await way(port).look()
    inside = ByHttp(Outbound(), template(url="https://127.0.0.1/v1/sms"))
    with pytest.raises(Refused, match=r"outbound.address"):
        await inside.send(SMS)


@pytest.mark.asyncio
async def test_a_mail_server_is_looked_at_without_a_letter() -> None:
    desk = Desk()
    async with serving(desk) as port:
        mail = ByMail(MailServer("127.0.0.1", port, "none", FROM))
        await mail.look()
    with pytest.raises(Unavailable, match=r"mail.away"):
        await mail.look()
    assert [] == desk.taken


@pytest.mark.asyncio
async def test_for_trials_messages_are_lines_of_a_file_for_its_owner_or_of_the_console(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "messages.jsonl"
    for _ in range(2):
        await Written(file).send(SMS)
    await Written(file).look()
    await Written().send(SMS)

    expected = {"id": SMS.id, "to": SMS.to, "subject": "", "text": SMS.text}
    lines = file.read_text("utf-8").splitlines()
    assert [expected] * 3 == [line_of(line) for line in [*lines, capsys.readouterr().err]]
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    with pytest.raises(Unavailable, match=r"messages.cannot-write"):
        await Written(tmp_path).look()


@pytest.mark.asyncio
async def test_a_citizen_hears_by_sms_once_also_where_the_gateway_was_closed_for_a_while(here: World) -> None:
    gateway = Gateway()
    with answering(gateway) as port:
        home = with_ways(here, {MOBILE: way(port)})
        await held(here, home, "06 12 34 56 78", MOBILE)
        await tell(here, home)
        gateway.status = 503
        accepted = await here.declare(MOVED, here.moved())
        assert ["sms.refused"] == [one.code for one in await tell(here, home)]
        gateway.status = None
        here.clock.pass_(2 * LEASE_MS)
        await tell(here, home)
        await tell(here, home)

    assert [] == gateway.refused
    (_, (to, text)) = gateway.sent.values()
    assert "+33612345678" == to
    number = str(accepted.declaration_id.hex())[:8]
    assert text.startswith("Unefois : Une déclaration a été reçue. Numéro de déclaration : " + number)


# ── settings ────────────────────────────────────────────────────────────────────────────────────────────────────────

MAIL = {"mail_server": "mail.example:587", "mail_from": FROM}
GATEWAY = {"message_mobile": "http", "sms_url": "https://sms.example/v1"}


def test_nobody_is_told_unless_the_settings_say_so(tmp_path: Path) -> None:
    assert {} == parts.ways(settings(tmp_path), Outbound())
    assert {} == parts.ways(settings(tmp_path, **MAIL), Outbound()), "letters to administrations are another matter"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({**MAIL, "message_email": "smtp"}, {EMAIL: ByMail}),
        (GATEWAY, {MOBILE: ByHttp}),
        ({"message_email": "console", "message_mobile": "console"}, {EMAIL: Written, MOBILE: Written}),
    ],
)
def test_each_way_is_the_one_that_was_chosen(
    tmp_path: Path, chosen: dict[str, Any], expected: dict[ChannelKind, type]
) -> None:
    found = parts.ways(settings(tmp_path, **chosen), Outbound())
    assert expected == {kind: type(one) for kind, one in found.items()}


@pytest.mark.parametrize(
    ("chosen", "key"),
    [
        ({"message_email": "smtp"}, "message_email"),
        ({"message_mobile": "http"}, "sms_url"),
        ({"message_email": "file"}, "message_file"),
        ({**GATEWAY, "sms_body": '{"to": "{to}"}'}, "sms_body"),
        ({**GATEWAY, "sms_body": "{to} {text}"}, "sms_body"),
        ({**GATEWAY, "sms_headers": {"x y": "1"}}, "sms_headers"),
        ({**GATEWAY, "sms_headers": {"x": "1\r\ny: 2"}}, "sms_headers"),
        ({"message_link": "http://example.fr"}, "message_link"),
        ({"sms_token": " "}, "sms_token"),
    ],
)
def test_what_cannot_work_is_refused_by_its_name(tmp_path: Path, chosen: dict[str, Any], key: str) -> None:
    with pytest.raises(Refused) as refused:
        load(home=tmp_path, **chosen)
    assert f"/{key}" == refused.value.pointer


def test_the_token_of_the_gateway_is_in_no_repr(tmp_path: Path) -> None:
    chosen = settings(tmp_path, **GATEWAY, sms_token="s3cret", sms_headers={"x": "k3y"})

    made = parts.ways(chosen, Outbound())
    assert not {"s3cret", "k3y"} & set(f"{chosen!r}".replace("'", " ").split())
    assert "s3cret" not in f"{made!r}"


@pytest.mark.parametrize(
    ("chosen", "codes"),
    [
        ({}, set()),
        ({"message_email": "console"}, {"settings.messages-for-trials"}),
        ({**MAIL, "message_email": "smtp"}, {"settings.messages-without-link"}),
        ({**MAIL, "message_email": "smtp", "message_link": "https://example.fr/"}, set()),
    ],
)
def test_what_is_unwise_is_told(tmp_path: Path, chosen: dict[str, Any], codes: set[str]) -> None:
    found = {problem.fault.code for problem in check(settings(tmp_path, **chosen))}
    assert codes == {code for code in found if "message" in code}
