"""What an agency decided is on the disk before anybody hears of it, and stays."""

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.contract import Applied, Rejected
from connectors.ends import Ends
from schemas.delivery import VerifiedDelivery
from schemas.errors import Refused, Unavailable
from schemas.names import DeliveryId, Instant, Reason

AT = Instant(1_793_610_000_000)
NO = Rejected("crm.no-such-file", Reason.SYSTEM_REFUSED)
Declared = Callable[..., VerifiedDelivery]


def test_an_end_is_unheard_until_the_broker_answers(tmp_path: Path, declared: Declared) -> None:
    ends, one, other = Ends.open(tmp_path / "ends.db"), declared(), declared()
    ends.decide(one, Applied(), AT)
    ends.decide(other, NO, Instant(AT + 1))
    ends.close()
    again = Ends.open(tmp_path / "ends.db")

    assert {one.delivery_id: Applied(), other.delivery_id: NO} == dict(again.unheard())
    assert [one.delivery_id] == list(again.unheard(1))
    again.heard([one.delivery_id])
    assert [other.delivery_id] == list(again.unheard())
    assert Applied() == again.of(one.delivery_id)
    assert None is again.of(DeliveryId(bytes(16)))
    again.close()


def test_what_was_applied_stays_so_and_what_was_rejected_may_be_applied(declared: Declared) -> None:
    ends, one = Ends.open(None), declared()
    ends.decide(one, NO, AT)
    ends.heard([one.delivery_id])
    ends.decide(one, Applied(), AT)
    assert {one.delivery_id: Applied()} == dict(ends.unheard())

    ends.decide(one, Applied(), AT)
    with pytest.raises(Refused) as refused:
        ends.decide(one, NO, AT)

    assert "ends.applied" == refused.value.code
    assert Applied() == ends.of(one.delivery_id)


def test_a_declaration_is_known_by_its_manifest_once_it_was_believed(declared: Declared) -> None:
    ends, one = Ends.open(None), declared()
    ends.refuse(one.delivery_id, "delivery.bitmap", Reason.INVALID_DELIVERY, AT)
    assert None is ends.seen(one.source, one.declaration_id)

    ends.decide(one, Applied(), AT)

    assert one.manifest_digest == ends.seen(one.source, one.declaration_id)


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    first = Ends.open(tmp_path / "ends.db")
    with pytest.raises(Unavailable) as away:
        Ends.open(tmp_path / "ends.db")
    first.close()

    assert "ends.in-use" == away.value.code
    Ends.open(tmp_path / "ends.db").close()


def _other_version(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()


@pytest.mark.parametrize(
    "make", [lambda path: path.write_bytes(b"no database at all" * 99), _other_version, Path.mkdir]
)
def test_what_is_no_file_of_ends_is_refused(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "ends.db")

    with pytest.raises(Refused) as refused:
        Ends.open(tmp_path / "ends.db")

    assert "ends.unreadable" == refused.value.code


def _decide_and_die(path: Path) -> None:
    ends = Ends.open(path)
    ends.refuse(DeliveryId(bytes(16)), "x.y", Reason.MAPPING, AT)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_decision_survives_a_kill(tmp_path: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=_decide_and_die, args=(tmp_path / "ends.db",))
    child.start()
    child.join()
    assert -signal.SIGKILL == child.exitcode

    ends = Ends.open(tmp_path / "ends.db")

    assert [DeliveryId(bytes(16))] == list(ends.unheard())
    ends.close()
