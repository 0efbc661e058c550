"""`pytest --connector=NAME`: the kit on the connector of this name, by its rig; a plugin that pytest finds by itself.

Refuses: a name without a rig, at the start.
Keeps: without the option it does nothing, and imports nothing.
"""

from contextlib import suppress
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option. Both of our wheels may be in one place; the second one leaves it to the first."""
    group = parser.getgroup("unefois")
    with suppress(ValueError):
        group.addoption("--connector", metavar="NAME", help="run the kit of cases on this connector (Unefois)")


def pytest_configure(config: pytest.Config) -> None:
    """The kit in place of the tests of this folder; beside those that were named."""
    if config.getoption("--connector", None) is None:
        return
    kit = str(Path(__file__).with_name("collected.py"))
    named = config.args if config.args_source is config.ArgsSource.ARGS else []
    config.args = [kit, *named]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each case."""
    name = metafunc.config.getoption("--connector", None)
    if name is None or "kit_case" not in metafunc.fixturenames:
        return
    from connectors.description import Case

    metafunc.parametrize("kit_case", list(Case), ids=[case.value for case in Case])
