"""Bytes that were cut or changed on their way: nowhere are they taken for something."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from broker.flow.router import TOPIC
from broker.store.tables import deliveries
from schemas.envelope import SignedDeclaration
from schemas.errors import Refused
from schemas.names import Reason
from tests.bad_input.agency import Fund
from tests.bad_input.door import Door
from tests.bad_input.person import Person
from tests.bad_input.state import unchanged
from tests.bad_input.telling import LANGUAGES, leaks, said_by, sentences_of
from tests.world import CAF, FAMILY, MOVED, YANN

STRIDE = 37


async def all_refused(door: Door, envelopes: Iterable[bytes]) -> None:
    """Each is refused with words in both languages, and nothing is kept but the note of it."""
    sent = list(envelopes)
    with unchanged(door.database, refusals=len(sent)):
        for envelope in sent:
            with pytest.raises(Refused) as caught:
                await door.here.home.intake.accept(envelope)
            for language in LANGUAGES:
                assert [] == leaks("".join(sentences_of(caught.value, language)) + said_by(caught.value))


@pytest.mark.asyncio
async def test_an_envelope_cut_anywhere_is_refused(door: Door) -> None:
    envelope = await door.envelope()

    await all_refused(door, (envelope[:end] for end in range(0, len(envelope), STRIDE)))

    await door.arrives(lambda: door.here.home.intake.accept(envelope))


@pytest.mark.asyncio
async def test_an_envelope_with_something_behind_it_is_refused_by_its_size(door: Door) -> None:
    envelope = await door.envelope()

    fault = await door.refuses(envelope + b"\x00", "avro.trailing-bytes", "")

    assert 1 == fault.details["size"]
    await door.arrives(lambda: door.here.home.intake.accept(envelope))


@pytest.mark.asyncio
async def test_a_bit_flipped_before_the_sealed_fields_is_refused_at_the_door(door: Door) -> None:
    """What is flipped in a sealed field, no broker can see: `tests/faults/test_mutation.py` follows it to the end."""
    envelope = await door.envelope()
    first = envelope.index(SignedDeclaration.decode(envelope).sealed_fields[0])

    await all_refused(
        door,
        (
            envelope[:at] + bytes([envelope[at] ^ 1 << at % 8]) + envelope[at + 1 :]
            for at in range(0, first - 2, STRIDE)
        ),
    )

    await door.arrives(lambda: door.here.home.intake.accept(envelope))


@pytest.mark.asyncio
@pytest.mark.parametrize("part", ["field", "dek"])
async def test_a_bit_flipped_in_what_is_sealed_reaches_nobody_and_stops_nobody(door: Door, part: str) -> None:
    here, fund = door.here, Fund(door.here)
    await here.give(CAF, MOVED, FAMILY, ("subject", "new_address"), person=YANN)
    signed = SignedDeclaration.decode(await door.envelope())
    index = here.home.catalogue.by_type(MOVED).field("subject").index
    if part == "dek":
        bent = replace(signed, sealed_dek=_flipped(signed.sealed_dek))
    else:
        fields = list(signed.sealed_fields)
        fields[index] = _flipped(fields[index])
        bent = replace(signed, sealed_fields=tuple(fields))

    await here.home.intake.accept(bent.encode())
    await here.declare(MOVED, here.moved(YANN))
    report = await fund.run()

    assert 1 == len(report.applied) == len(fund.shelf.rows)
    (letter,) = await here.home.dead_letters.list()
    codes = {"dek": "sealing.cannot-open-dek", "field": "sealing.cannot-open-field"}
    reasons = {"dek": Reason.INVALID_ENVELOPE, "field": Reason.INVALID_DELIVERY}
    assert (codes[part], reasons[part]) == (letter.code, letter.reason)
    again = await door.envelope()
    await here.home.intake.accept(again)
    await here.home.router.route()
    await fund.takes()


@pytest.mark.asyncio
async def test_a_record_of_the_log_that_was_cut_is_set_aside_and_the_next_goes_on(door: Door) -> None:
    envelope = await door.envelope()
    await door.here.home.log.append(TOPIC, b"cut", envelope[: len(envelope) // 2], {})

    await door.arrives(lambda: door.here.home.intake.accept(envelope))

    (letter,) = await door.here.home.dead_letters.list()
    assert ("avro.truncated", Reason.INVALID_ENVELOPE) == (letter.code, letter.reason)


@pytest.mark.asyncio
async def test_a_mailbox_row_that_was_cut_is_set_aside_found_by_fsck_and_stops_nobody(door: Door) -> None:
    here, fund = door.here, Fund(door.here)
    await here.give(CAF, MOVED, FAMILY, ("subject", "new_address"), person=YANN)
    await here.declare(MOVED, door.move())
    await here.declare(MOVED, here.moved(YANN))
    (first, *_) = await here.inbox(CAF).ready(2)
    async with here.home.store.begin() as tx:
        mine = deliveries.c.id == first.delivery_id
        kept = (await tx.execute(deliveries.select().where(mine))).one().locked
        await tx.execute(update(deliveries).where(mine).values(locked=kept[:-1]))
    assert "deliveries.unreadable" in {finding.check for finding in await here.home.fsck.check()}

    report = await fund.run()

    assert 1 == len(report.applied)
    assert ["avro.truncated"] == [letter.code for letter in await here.home.dead_letters.list()]
    async with here.home.store.begin() as tx:
        await tx.execute(update(deliveries).where(mine).values(locked=kept))


def _flipped(raw: bytes) -> bytes:
    return bytes([raw[0] ^ 1]) + raw[1:]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"subject": {"family_name": "Quenouillard', "yaml.malformed"),
        (b'{"subject": "Quenouillard\xff"}', "yaml.malformed"),
        (b'{"subject": "Quenouil\x00lard"}', "yaml.malformed"),
        (b'{"phone": "+33699887766", "phone": null}', "yaml.key-twice"),
        (b"- Quenouillard\n", "draft.not-a-record"),
        (b"", "draft.not-a-record"),
    ],
    ids=["cut", "not-utf-8", "nul", "key-twice", "no-record", "empty"],
)
def test_a_file_that_was_cut_or_is_no_document_is_told_by_its_line(person: Person, content: bytes, code: str) -> None:
    fault = person.is_told(("declare", person.write(content), "--type", "address.changed"), code, exit_code=3)

    assert 1 == fault.details.get("line", 1)


def test_a_receipt_that_was_cut_or_changed_proves_nothing(person: Person) -> None:
    declared = person.declares()
    receipt = person.file.with_name("receipt")
    receipt.write_text(person.program.run("audit", "prove", declared, "--lang", "fr").stdout)
    key = person.program.told("init")["key"]
    assert 0 == person.program.run("audit", "check", receipt, "--key", key).exit_code
    text = receipt.read_bytes()
    for wrong, code in (
        (text[: text.index(b"c2sp.org")], "receipt.no-proof"),
        (text[: text.index(b"index ")], "proof.malformed"),
        (text[:-1], "note.signature-line"),
        (text.replace(b"urn:unefois:portal", b"urn:unefois:other ", 1), "receipt.meaning-differs"),
        (b"", "receipt.not-a-receipt"),
    ):
        person.is_told(("audit", "check", person.write(wrong), "--key", key), code, exit_code=1)


def test_a_key_file_that_was_cut_is_told_and_left_as_it_is(person: Person) -> None:
    path = next((person.home / "keys" / "ledger").iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    path.chmod(0o600)

    person.is_told(("fsck",), "keys.damaged", exit_code=5)
    person.is_told(("declare", person.file, "--type", "address.changed"), "keys.damaged", exit_code=5)


def test_a_settings_file_that_was_cut_is_told_by_its_line(person: Person) -> None:
    (person.home / "unefois.toml").write_text('language = "fr"\nname = "Ville de')
    (person.home / "unefois.toml").chmod(0o600)

    fault = person.is_told(("fsck",), "settings.not-toml", exit_code=3)

    assert 2 == fault.details["line"]


def test_the_bytes_of_a_database_that_were_overwritten_are_told(person: Person, tmp_path: Path) -> None:
    content = bytearray(person.database.read_bytes())
    content[:100] = bytes(100)
    person.database.write_bytes(content)

    for language in LANGUAGES:
        shown = person.program.run("fsck", "--lang", language)
        assert (5, True) == (shown.exit_code, shown.stderr.startswith("store.corrupt"))
    assert bytes(content) == person.database.read_bytes()
