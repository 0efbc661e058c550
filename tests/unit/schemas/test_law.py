"""The law as a document: one exact form, signed in a chain of its own, and never taken for a directory."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from schemas import directory_note, law, note
from schemas.errors import Refused
from schemas.law import Law, LawPurpose, LawRule
from schemas.names import EventType, Instant, PartyId, Purpose, RuleId
from schemas.note import Note, VerifierKey
from schemas.signing import Algorithm, PrivateKey

ORIGIN = "log.example/unefois"
KEY, OTHER = (PrivateKey.from_raw(Algorithm.ED25519, bytes([seed] * 32)) for seed in (1, 2))
LOG = VerifierKey.of(ORIGIN, KEY)
CAF = PartyId("urn:unefois:caf")
MEALS = LawPurpose(
    id=Purpose("school-meals"),
    version=1,
    families=("consent", "public-task"),
    label_fr="Cantine",
    label_en="School meals",
    sentence_fr="Inscrire vos enfants à la cantine.",
    sentence_en="Enrol your children for school meals.",
    legal_fr="Code de l'éducation, art. R531-52",
    legal_en="Education code, art. R531-52",
    retention_fr="un an",
    retention_en="one year",
    contact="dpo@ville.example",
    detail="ab" * 32,
)
RULE = LawRule(
    id=RuleId(b"r" * 16),
    recipient=CAF,
    event_type=EventType("fr.unefois.address.changed.v1"),
    purpose=MEALS.id,
    fields=("new_address", "subject"),
    territories=("35",),
    least_assurance="substantial",
    least_quality="declared",
    article="CSS, art. L114-19",
    objection=True,
    approved_at=Instant(1),
    acts_from=Instant(10),
    narrowed_at=None,
    ends_at=Instant(20),
    ended_at=None,
    detail="cd" * 32,
)
WHOLE = Law.of([MEALS], [RULE])


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.code


def signed(version: int, content: str, previous: bytes = directory_note.FIRST, key: PrivateKey = KEY) -> Note:
    return note.sign(law.text_of(ORIGIN, version, content, previous), ORIGIN, key)


def test_it_is_read_as_it_was_written() -> None:
    assert WHOLE == Law.from_json(WHOLE.to_json())
    assert Law.of([], []) == Law.from_json('{\n "purposes": [],\n "rules": []\n}\n')
    several = [replace(RULE, id=RuleId(bytes([each]) * 16), territories=None) for each in (3, 1, 2)]
    assert Law.of([], several).to_json() == Law.of([], reversed(several)).to_json()


@pytest.mark.parametrize(("at", "acts"), [(9, False), (10, True), (19, True), (20, False)])
def test_a_rule_acts_from_its_beginning_until_its_end(at: int, acts: bool) -> None:
    assert acts == bool(WHOLE.acting(CAF, Instant(at)))
    assert () == WHOLE.acting(PartyId("urn:unefois:other"), Instant(at))
    assert not Law.of([], [replace(RULE, ended_at=Instant(10))]).acting(CAF, Instant(at))


WRONG: dict[str, Callable[[dict[str, list[dict[str, object]]]], object]] = {
    "a member more": lambda told: told["rules"][0].update(more=1),
    "a member less": lambda told: told["purposes"][0].pop("contact"),
    "a rule twice": lambda told: told["rules"].append(told["rules"][0]),
    "fields out of order": lambda told: told["rules"][0].update(fields=["subject", "new_address"]),
    "a number for a text": lambda told: told["purposes"][0].update(label_fr=1),
    "a yes for a number": lambda told: told["rules"][0].update(acts_from=True),
    "a number for a yes": lambda told: told["rules"][0].update(objection=1),
    "no id": lambda told: told["rules"][0].update(id="mine"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_such_document_is_refused(wrong: str) -> None:
    told = json.loads(WHOLE.to_json())
    WRONG[wrong](told)
    assert "law.malformed" == refused(lambda: Law.from_json(json.dumps(told, indent=1) + "\n"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rules": 1, "purposes": []}', "[" * 100_000])
def test_what_is_none_at_all_is_refused(text: str) -> None:
    assert "law.malformed" == refused(lambda: Law.from_json(text))


@pytest.mark.parametrize(
    "change", [lambda text: text[:-1], lambda text: text.replace("\n", ""), lambda text: text + "\n"]
)
def test_another_spelling_is_refused(change: Callable[[str], str]) -> None:
    assert "law.not-exact" == refused(lambda: Law.from_json(change(WHOLE.to_json())))


def test_it_is_believed_for_its_key_and_follows_from_the_one_before() -> None:
    content, empty = WHOLE.to_json(), Law.of([], []).to_json()
    found, pinned = law.verify(empty, signed(3, empty), LOG, None)
    assert (Law.of([], []), 3) == (found, pinned.version)
    later = signed(5, content, directory_note.digest_of(empty))

    assert WHOLE == law.verify(content, later, LOG, pinned)[0]
    assert 5 == law.follow(later, LOG, pinned).version
    assert "directory.note-unsigned" == refused(lambda: law.verify(content, signed(5, content, key=OTHER), LOG, pinned))
    assert "directory.note-differs" == refused(lambda: law.verify(empty, later, LOG, pinned))
    assert "directory.chain" == refused(lambda: law.verify(content, signed(5, content), LOG, pinned))
    assert "directory.rolled-back" == refused(lambda: law.verify(content, signed(2, content), LOG, pinned))
    assert "directory.forked" == refused(lambda: law.verify(content, signed(3, content), LOG, pinned))


def test_it_is_never_taken_for_a_directory_nor_a_directory_for_it() -> None:
    content = WHOLE.to_json()
    assert "directory.note" == refused(lambda: directory_note.verify(content, signed(1, content), LOG, None))
    other = note.sign(directory_note.text_of(ORIGIN, 1, content), ORIGIN, KEY)
    assert "directory.note" == refused(lambda: law.verify(content, other, LOG, None))
