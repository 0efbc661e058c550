"""The page beside eCH-0020 has a line for each of its events, and names only types that there are."""

import re

from schemas.catalogue import builtin
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "ech-0020.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| (yes|no|other) \| (.+) \|$", PAGE, re.MULTILINE)
EVENTS = [
    "baseDelivery",
    "keyExchange",
    "dataRequest",
    "identificationConversion",
    "announceDuplicate",
    "deletedInRegister",
    "adoption",
    "childRelationship",
    "naturalizeForeigner",
    "naturalizeSwiss",
    "undoCitizen",
    "undoSwiss",
    "changeOrigin",
    "birth",
    "marriage",
    "partnership",
    "separation",
    "undoSeparation",
    "divorce",
    "undoMarriage",
    "undoPartnership",
    "death",
    "missing",
    "undoMissing",
    "maritalStatusPartner",
    "changeName",
    "changeSex",
    "moveIn",
    "move",
    "contact",
    "moveOut",
    "changeResidenceType",
    "changeReligion",
    "changeOccupation",
    "guardianMeasure",
    "undoGuardian",
    "changeGuardian",
    "changeNationality",
    "changeResidencePermit",
    "dataLock",
    "paperLock",
    "care",
    "changeArmedForces",
    "changeCivilDefense",
    "changeFireService",
    "changeHealthInsurance",
    "changeMatrimonialInheritanceArrangement",
    "correctGuardianRelationship",
    "correctParentalRelationship",
    "correctReporting",
    "correctOccupation",
    "correctIdentification",
    "correctName",
    "correctNationality",
    "correctContact",
    "correctReligion",
    "correctPlaceOfOrigin",
    "correctResidencePermit",
    "correctMaritalInfo",
    "correctBirthInfo",
    "correctDeathData",
    "correctPersonAdditionalData",
    "correctPoliticalRightData",
    "correctDataLock",
    "correctPaperLock",
]
"""The elements of `delivery` in eCH-0020 3.0, in the order of its schema."""


def test_every_event_has_its_line_in_the_order_of_the_standard() -> None:
    assert EVENTS == [name for name, _, _ in ROWS]
    assert f"has {len(EVENTS)} events" in PAGE


def test_what_is_here_is_here_by_a_type_of_the_catalogue() -> None:
    known = {each.event_type.removeprefix("fr.unefois.").removesuffix(".v1") for each in builtin()}
    fields = {name for each in builtin() for name in each.names}
    for name, here, how in ROWS:
        types = set(re.findall(r"`([a-z-]+\.[a-z]+(?:\.v[0-9])?)`", how))
        assert types <= known, name
        assert here != "yes" or types, name
        words = set(re.findall(r"`([a-z]+_[a-z_]+)`", how))
        assert words <= fields, name
