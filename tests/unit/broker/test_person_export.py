"""Person export: everything that is held about one person, nothing of anybody else; what is left out has its reason."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pypdf import PdfReader
from sqlalchemy import text
from sqlalchemy.dialects.sqlite import dialect as sqlite

from broker.services.papers.person import paper
from broker.services.person_export import VIEWS, person_export
from broker.services.person_rows import ELSEWHERE, HELD, NOT_ABOUT, WITHOUT, left_out
from broker.services.person_schema import schema
from broker.services.person_words import GONE, NAMES
from broker.setup.rights import VERSION, all_tables
from broker.store.tables import metadata
from consent.basis import law
from schemas.errors import Refused
from schemas.facts import FactKind
from tests.told import Taken, by_mail, held
from tests.unit.broker.test_pdf import structure
from tests.world import CAF, DAY, ELISE, FAMILY, MOVED, RENNES, TOWN, VOICE, YANN, World, world

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "schemas" / "person-export.v1.schema.json"
FIELDS = ["subject", "new_address"]
ADDRESS = "elise@example.fr"


async def lived(here: World) -> dict[str, Any]:
    """Élise consents, is told, declares; two administrations hear of it, and one consent is withdrawn. Her export."""
    home = by_mail(here, Taken())
    await held(here, home, ADDRESS)
    here.clock.pass_(2 * 60_000)
    given = await here.give(CAF, MOVED, FAMILY, FIELDS)
    await here.give(RENNES, MOVED, TOWN, ["subject"], basis=law("CGCT, art. L2121-29"))
    declared = await here.declare(MOVED, here.moved())
    async with home.store.begin() as tx:
        of = declared.declaration_id
        await home.fingerprints.keep(tx, here.subject(), MOVED, here.moved(), of=of, at=here.clock())
    await here.take(CAF)
    await here.take(RENNES)
    here.clock.pass_(DAY)
    await here.home.consents.revoke(given.grant.id, VOICE)
    await here.step()
    await home.outbox.plan()
    return await person_export(home, here.subject(ELISE))


class TestTheLists:
    """A table or a column that nobody thought of fails here."""

    def test_every_table_is_in_an_export_or_says_why_not(self) -> None:
        shown = {section.table.name for section in HELD.values()}

        assert [] == sorted(all_tables() - {VERSION} - shown - set(ELSEWHERE) - set(NOT_ABOUT))
        assert set() == (shown & set(NOT_ABOUT)) | (shown & set(ELSEWHERE)) | (set(ELSEWHERE) & set(NOT_ABOUT))
        assert set() == (set(ELSEWHERE) | set(NOT_ABOUT)) - all_tables()

    @pytest.mark.parametrize("name", HELD)
    def test_every_column_is_shown_or_says_why_not(self, name: str) -> None:
        columns = set(HELD[name].table.c.keys())

        assert columns == set(HELD[name].columns) | set(WITHOUT[name])
        assert set() == set(HELD[name].columns) & set(WITHOUT[name])

    def test_a_table_that_names_a_person_is_shown(self) -> None:
        """The account of an operator has a `subject` too: of their sign-in."""
        named = {table.name for table in metadata.tables.values() if "subject" in table.c} - {"operators"}

        assert set() == named - {section.table.name for section in HELD.values()} - set(ELSEWHERE)

    def test_each_reason_is_told_in_both_languages(self) -> None:
        assert [] == [one for one in left_out() if not (one["why"]["fr"] and one["why"]["en"])]
        assert len(NOT_ABOUT) + 1 + sum(map(len, WITHOUT.values())) == len(left_out())


class TestTheSchema:
    def test_the_published_one_is_what_the_lists_make(self) -> None:
        """Another content is another version: `FORMAT`, and a file beside this one."""
        assert schema() == json.loads(PUBLISHED.read_text("utf-8"))
        Draft202012Validator.check_schema(schema())

    @pytest.mark.asyncio
    async def test_an_export_is_of_it_and_it_has_no_open_end(self, here: World) -> None:
        told = json.loads(json.dumps(await lived(here)))
        strict = Draft202012Validator(schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)

        assert [] == [error.message for error in strict.iter_errors(told)]
        assert not strict.is_valid(told | {"more": 1})
        told["held"]["channels"][0]["sealed"] = "00"
        assert not strict.is_valid(told)


@pytest.mark.asyncio
class TestWhatIsInIt:
    async def test_each_thing_that_is_held_is_told(self, here: World) -> None:
        told = await lived(here)

        empty = {"objections", "repairs", "retractions", "dead_letters"}
        empty |= {"representations", "acted_for", "households", "names"}
        empty |= {"sessions", "accounts", "codes"}
        assert {name for name in HELD if not told["held"][name]} == empty
        assert [CAF, RENNES] == [one["recipient"] for one in told["handed_over"]]
        assert ["consent", "law:CGCT, art. L2121-29"] == [one["basis"] for one in told["handed_over"]]
        assert {"channel_added", "granted", "received", "planned", "released", "applied", "revoked"} <= {
            one["kind"] for one in told["entries"]
        }
        assert [(1, "active"), (1, "active"), (2, "revoked")] == sorted(
            (one["version"], one["status"]) for one in told["held"]["consents"]
        )
        assert {CAF, RENNES, here.home.party} <= set(told["parties"])
        assert told["person"] == {"held": True}
        assert all(each in told["entries"] or name == "handed_over" for name in VIEWS for each in told[name])

    async def test_the_persons_own_address_is_whole_and_no_value_and_no_reference_is_in_it(self, here: World) -> None:
        text = json.dumps(told := await lived(here), ensure_ascii=False)

        assert [ADDRESS] == [one["address"] for one in told["held"]["channels"]]
        assert [] == [value for value in ("Élise", "Martin", "Monnaie", "1985-04-12", "44109") if value in text]
        assert here.subject(ELISE).hex() not in text

    async def test_what_was_typed_is_shown_to_its_person_and_to_no_operator(self, here: World) -> None:
        await here.home.drafts.write(here.subject(), "moving", {"street": "1 rue d'Essai"})
        mine = await person_export(here.home, here.subject(), whose=here.subject())
        shown = await person_export(here.home, here.subject())

        assert [("moving", {"street": "1 rue d'Essai"})] == [(one["form"], one["content"]) for one in mine["drafts"]]
        assert [(None, None)] == [(one["form"], one["content"]) for one in shown["drafts"]]
        assert "Essai" not in json.dumps(shown["drafts"])

    async def test_nothing_of_somebody_else_is_in_it(self, here: World) -> None:
        await lived(here)

        told = await person_export(here.home, here.subject(YANN))
        assert (False, [], 0) == (told["person"]["held"], told["entries"], told["closed_entries"])
        assert [] == [name for name, rows in told["held"].items() if rows]
        assert [] == [name for name in VIEWS if told[name]]

    async def test_it_is_a_look_and_the_next_one_tells_of_it(self, here: World) -> None:
        first = await person_export(here.home, here.subject(ELISE))
        second = await person_export(here.home, here.subject(ELISE))

        assert ([], [first["entry"]]) == (first["looks"], [one["entry"] for one in second["looks"]])
        assert 2 == len(await here.entries(FactKind.VIEWED))

    async def test_somebody_elses_is_as_unknown_as_nobodys_and_leaves_no_trace(self, here: World) -> None:
        await lived(here)
        looks = len(await here.entries(FactKind.VIEWED))

        for whose in (YANN, {**YANN, "family_name": "Personne"}):
            with pytest.raises(Refused) as refused:
                await person_export(here.home, here.subject(ELISE), whose=here.subject(whose))
            assert ("rights.unknown-person", "/person") == (refused.value.code, refused.value.pointer)
        assert looks == len(await here.entries(FactKind.VIEWED))

    async def test_an_address_that_opens_no_more_is_none_and_the_rest_is_told(self, here: World) -> None:
        from sqlalchemy import update

        from broker.store.message_tables import channels

        home = by_mail(here, Taken())
        await held(here, home, ADDRESS)
        async with here.home.store.begin() as tx:
            before = (await tx.execute(channels.select())).one()
            await tx.execute(update(channels).values(sealed=b"\x00" * 40))
        told = await person_export(home, here.subject(ELISE))
        async with here.home.store.begin() as tx:
            await tx.execute(update(channels).values(sealed=before.sealed))

        assert [None] == [one["address"] for one in told["held"]["channels"]]


@pytest.mark.asyncio
class TestThePaper:
    """Everything of the JSON, to be read or heard."""

    @pytest.mark.parametrize(
        ("language", "title"), [("fr", "Ce que ce courtier conserve"), ("en", "What this broker holds")]
    )
    async def test_all_of_it_is_in_the_pdf_in_its_language(self, here: World, language: Any, title: str) -> None:
        told = await lived(here)
        reader = PdfReader(BytesIO(paper(told, language)), strict=True)
        said = structure(reader)
        text = " ".join(each for _, each in said).replace(" ", "")

        assert said[0][0] == "/H1"
        assert said[0][1].startswith(title)
        assert language == reader.trailer["/Root"]["/Lang"]  # type: ignore[index]
        values = [value for rows in told["held"].values() for row in rows for value in row.values()]
        values += [one["entry"] for one in told["entries"]] + [one["why"][language] for one in told["left_out"]]
        values += [one["until"][language] for one in told["kept"]] + [ADDRESS]
        missing = {str(value) for value in values if isinstance(value, str) and value.replace(" ", "") not in text}
        assert set() == missing

    async def test_of_nobody_it_says_so(self, here: World) -> None:
        told = await person_export(here.home, here.subject(YANN))
        said = [text for _, text in structure(PdfReader(BytesIO(paper(told, "fr")), strict=True))]

        assert "Rien n'est conservé à votre sujet." in said

    async def test_each_section_has_its_name_and_each_kind_its_word(self) -> None:
        assert {*HELD, "entries", "drafts"} == set(NAMES) == set(GONE)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", HELD)
async def test_no_section_goes_through_everybodys_rows(name: str, tmp_path: Path) -> None:
    """A home has millions of them, and whoever exports holds up who writes."""
    async with world(tmp_path, stepped=True) as here:
        asked = HELD[name].question(here.subject(ELISE)).compile(dialect=sqlite(paramstyle="named"))
        async with here.home.store.read() as tx:
            plan = [row.detail for row in await tx.execute(text(f"EXPLAIN QUERY PLAN {asked}"), asked.params)]

    assert [] == [step for step in plan if step.startswith("SCAN") and "LIST SUBQUERY" not in step], plan
