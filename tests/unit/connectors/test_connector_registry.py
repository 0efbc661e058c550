"""Which connectors there are."""

from importlib.metadata import EntryPoint

import pytest

from connectors import registry
from connectors.contract import Connector, Notifier
from connectors.file.connector import FileConnector
from connectors.table import TableConnector
from connectors.webhook import WebhookConnector
from schemas.errors import Refused

installed = pytest.mark.skipif(
    not registry.kinds(), reason="the package is not installed here, so nothing is announced (make test installs it)"
)


def code_of(call: object, kind: str) -> tuple[str, object]:
    with pytest.raises(Refused) as caught:
        call(kind)
    return caught.value.code, caught.value.details.get("near")


@installed
def test_ours_are_announced_and_found_like_anybodys() -> None:
    assert {"file", "table", "webhook"} <= registry.kinds().keys()
    assert (FileConnector, TableConnector, WebhookConnector) == (
        registry.connector("file"),
        registry.connector("table"),
        registry.notifier("webhook"),
    )


def test_they_keep_the_contract() -> None:
    assert all(issubclass(each, Connector) for each in (FileConnector, TableConnector))
    assert issubclass(WebhookConnector, Notifier)
    assert not issubclass(WebhookConnector, Connector)


@installed
def test_an_unknown_kind_is_answered_with_the_nearest_one() -> None:
    assert ("connector.unknown-kind", "table") == code_of(registry.connector, "tables")


@installed
def test_what_writes_does_not_tell_and_what_tells_does_not_write() -> None:
    assert ("connector.not-a-connector", None) == code_of(registry.connector, "webhook")
    assert ("connector.not-a-notifier", None) == code_of(registry.notifier, "table")


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("connector.cannot-load", "connectors.nowhere:Connector"),
        ("connector.cannot-load", "connectors.file.connector:Nothing"),
        ("connector.not-a-connector", "connectors.file.folder:is_writable"),
    ],
)
def test_a_package_that_announces_something_else_is_refused(
    code: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("theirs", value, registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    assert (code, None) == code_of(registry.connector, "theirs")
