"""Clock: the country's own; it stands still until somebody lets time pass."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from schemas.names import Instant

DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)


class CountryClock:
    """A `Clock` that begins at six in the morning (UTC) of a day."""

    def __init__(self, first: date) -> None:
        self._first = first
        self._now = Instant(int(datetime(first.year, first.month, first.day, 6, tzinfo=UTC).timestamp()) * 1000)

    def __call__(self) -> Instant:
        return self._now

    @property
    def today(self) -> date:
        """The day, UTC."""
        return _EPOCH + timedelta(days=self._now // DAY_MS)

    def pass_(self, milliseconds: int) -> None:
        """Let time pass."""
        self._now = Instant(self._now + milliseconds)

    def morning(self, day: int) -> None:
        """Six o'clock of the day with this number from the first; or now, where that is later."""
        begin = (self._first - _EPOCH).days + day
        self._now = Instant(max(self._now, begin * DAY_MS + 6 * 3_600_000))
