"""Doors: a command asks a service, which begins the transaction; it takes no part of the machine in its own hands."""

import ast
from pathlib import Path

CLI = Path(__file__).parents[2] / "broker" / "cli"
RUN_A_PROCESS = {"machine.py": {"settings", "clock"}, "serve.py": {"clock"}}
"""Commands that are the machine at work: they name where its agencies are, and what its log is dated by."""


def test_no_command_reaches_into_a_home() -> None:
    reached = {
        path.name: {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "home"
        }
        for path in CLI.glob("*.py")
    }

    assert RUN_A_PROCESS == {name: parts for name, parts in reached.items() if parts}
