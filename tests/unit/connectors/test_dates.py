"""Dates as agencies write them."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.dates import LAYOUTS, date_as, date_from, date_zeros, paris_day
from schemas.errors import Refused


@pytest.mark.parametrize(
    ("text", "layout", "expected"),
    [
        ("1962-08-24", "dd/mm/yyyy", "24/08/1962"),
        ("1962-08", "dd/mm/yyyy", "08/1962"),
        ("1962", "dd/mm/yyyy", "1962"),
        ("1962-08-24", "ddmmyyyy", "24081962"),
        ("1962-08-24", "yyyymmdd", "19620824"),
        ("1962-08-24", "DD.MM.YYYY", "24.08.1962"),
        ("1962-08-24", "yyyy-mm-dd", "1962-08-24"),
        ("1962-08-24", "mmyyyy", "081962"),
        ("1962", "yyyy", "1962"),
    ],
)
def test_a_date_is_written_as_far_as_it_is_known(text: str, layout: str, expected: str) -> None:
    assert expected == date_as(text, layout)


@pytest.mark.parametrize(
    ("text", "expected"), [("1962", "00001962"), ("1962-08", "00081962"), ("1962-08-24", "24081962")]
)
def test_zeros_stand_for_what_is_not_known(text: str, expected: str) -> None:
    assert expected == date_zeros(text, "ddmmyyyy")


@pytest.mark.parametrize(
    ("text", "layout", "expected"),
    [
        ("25021969", "ddmmyyyy", "1969-02-25"),
        (" 25/02/1969 ", "dd/mm/yyyy", "1969-02-25"),
        ("00021969", "ddmmyyyy", "1969-02"),
        ("00001969", "ddmmyyyy", "1969"),
        ("02/1969", "mm/yyyy", "1969-02"),
        ("19690225", "yyyymmdd", "1969-02-25"),
    ],
)
def test_an_agencys_date_becomes_an_iso_date(text: str, layout: str, expected: str) -> None:
    assert expected == date_from(text, layout)


@pytest.mark.parametrize(
    ("code", "call", "text", "layout"),
    [
        ("mapping.date-layout", date_as, "1962-08-24", "dd/mm/yy"),
        ("mapping.date-layout", date_from, "240862", "mmddyyyy"),
        ("mapping.date-partial", date_as, "1962-08", "yyyymmdd"),
        ("mapping.date", date_as, "24/08/1962", "yyyymmdd"),
        ("mapping.date", date_as, "1962-13", "dd/mm/yyyy"),
        ("mapping.date", date_as, "2023-02-29", "dd/mm/yyyy"),
        ("mapping.date", date_as, "0000", "yyyy"),
        ("mapping.date", date_as, "١٩٦٢", "yyyy"),
        ("mapping.date", date_from, "02001969", "ddmmyyyy"),
        ("mapping.date", date_from, "2502196", "ddmmyyyy"),
        ("mapping.date", date_from, "31/04/1969", "dd/mm/yyyy"),
        ("mapping.date", date_zeros, "1962-00", "ddmmyyyy"),
    ],
)
def test_what_no_calendar_has_is_refused(code: str, call: Callable[[str, str], str], text: str, layout: str) -> None:
    with pytest.raises(Refused) as caught:
        call(text, layout)
    assert code == caught.value.code


@given(day=st.dates(date(1000, 1, 1)), layout=st.sampled_from([name for name, (_, o) in LAYOUTS.items() if "dd" in o]))
def test_a_whole_date_survives_any_layout_that_has_a_day(day: date, layout: str) -> None:
    assert day.isoformat() == date_from(date_as(day.isoformat(), layout), layout)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("1992-12-11T23:00Z", "1992-12-12"),
        ("2026-07-01T21:59:59.999Z", "2026-07-01"),
        ("2026-07-01T22:00:00Z", "2026-07-02"),
        ("2026-01-01T00:30:00+02:00", "2025-12-31"),
        ("2026-03-29T00:59:59Z", "2026-03-29"),
    ],
)
def test_the_day_in_france_is_not_the_day_in_utc(instant: str, expected: str) -> None:
    assert expected == paris_day(instant)


@given(st.integers(820_454_400, 2_145_830_400).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)))
def test_the_day_in_france_agrees_with_the_time_zone_tables(moment: datetime) -> None:
    assert moment.astimezone(ZoneInfo("Europe/Paris")).date().isoformat() == paris_day(moment.isoformat())


@pytest.mark.parametrize("text", ["2026-07-01", "2026-07-01T22:00:00", "2026-13-01T22:00Z", "9999-12-31T23:30Z", ""])
def test_a_time_without_its_zone_is_no_instant(text: str) -> None:
    with pytest.raises(Refused) as caught:
        paris_day(text)
    assert "mapping.instant" == caught.value.code
