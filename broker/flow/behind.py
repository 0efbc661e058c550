"""Behind: a log that seems to end before what was read of it. Made anew, or restored from an older day: what comes next
would be taken for what was read. Or only a node that answers what it knew when it stood still.

Refuses: to believe the first such answer where the log has nodes; to wait longer than one of them may be wrong.
Keeps: nothing is read meanwhile, so nothing is taken for anything else.

Kafka: a leader that stood still (SIGSTOP, a paused machine) and goes on answers where its log ends for as long as it
does not know that another leads; its end is then older than what was acknowledged. (Found by the trials by fire: a
router stopped with `log.shorter` over it.)
"""

import time
from collections.abc import Callable, Mapping

from schemas.errors import Corrupt


class Behind:
    """Remembers since when each partition of one topic is behind."""

    def __init__(self, topic: str, patience: float, now: Callable[[], float] = time.monotonic) -> None:
        """`patience`: seconds for which a partition may seem to be behind and not be; `now`: seconds, never back."""
        self._topic = topic
        self._patience = patience
        self._now = now
        self._since: dict[int, float] = {}

    def look(self, read: Mapping[int, int], ends: Mapping[int, int]) -> bool:
        """Whether any is behind: read up to here, ends there, by partition. Raises Corrupt `log.shorter` for one that
        has been behind for as long as that.
        """
        now = self._now()
        for partition, end in ends.items():
            offset = read.get(partition, 0)
            if offset <= end:
                self._since.pop(partition, None)
            elif now - self._since.setdefault(partition, now) >= self._patience:
                raise Corrupt("log.shorter", topic=self._topic, partition=partition, offset=offset, end=end)
        return bool(self._since)
