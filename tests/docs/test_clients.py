"""The foreign clients of docs/agency/clients.md are those that are pinned, each by its hash and to no address."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOREIGN = ROOT / "tests/agency/foreign"
ROW = re.compile(r"^\| `([^`]+)` \((JavaScript|Go|Python)\) \| (\S+) \|", re.MULTILINE)
SERVED_BY_PYTHON = {"authlib", "joserfc", "standardwebhooks", "cloudevents", "confluent-kafka"}


def listed(language: str) -> dict[str, str]:
    """The page's libraries of a language, with their versions."""
    page = (ROOT / "docs/agency/clients.md").read_text("utf-8")
    return {name: version for name, of, version in ROW.findall(page) if of == language}


def test_the_javascript_ones_are_pinned_with_all_that_they_need() -> None:
    lock = json.loads((FOREIGN / "js/package-lock.json").read_text("utf-8"))["packages"]
    wanted = json.loads((FOREIGN / "js/package.json").read_text("utf-8"))["dependencies"]

    assert wanted == lock.pop("")["dependencies"]
    assert wanted == listed("JavaScript")
    assert wanted == {name: lock[f"node_modules/{name}"]["version"] for name in wanted}
    assert [] == [path for path, one in lock.items() if "resolved" in one or "integrity" not in one]


def test_the_go_ones_are_pinned_with_all_that_they_need() -> None:
    module, sums = (FOREIGN / "go/go.mod").read_text("utf-8"), (FOREIGN / "go/go.sum").read_text("utf-8")
    required = dict(re.findall(r"^\t(\S+) (v\S+)", module, re.MULTILINE))
    direct = dict(re.findall(r"^\t(\S+) (v\S+)$", module, re.MULTILINE))
    tools = {tool.partition("/cmd/")[0] for tool in re.findall(r"^\t(\S+/cmd/\S+)$", module, re.MULTILINE)}

    assert direct | {name: required[name] for name in tools} == listed("Go")
    assert [] == [name for name, version in required.items() if f"{name} {version} h1:" not in sums]


def test_the_python_ones_are_pinned() -> None:
    pins = dict(
        re.findall(r"^([\w-]+)(?:\[[^]]*\])?==(\S+)", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE)
    )

    apart = (FOREIGN / "openapi/requirements.txt").read_text()
    made = re.findall(r"^(openapi-python-client)==(\S+)", apart, re.MULTILINE)

    assert {name: pins[name] for name in SERVED_BY_PYTHON} | dict(made) == listed("Python")
