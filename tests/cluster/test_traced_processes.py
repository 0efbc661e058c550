"""One declaration followed through real processes: its trace id stands in the lines of each, and in the caller's."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from broker.settings.choices import load
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from tests.program import FIELDS, elise_in, host, move_in
from tests.program import Program as InProcess
from tests.world import Clock, World, populate

ROOT = Path(__file__).parents[2]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ROLES = ("router", "connectors", "ledger")
EXPECTED = {
    "router": {"router.routed", "delivery.recorded planned"},
    "connectors": {"delivery.recorded released", "delivery.recorded applied"},
    "ledger": {
        "ledger.ordered received",
        "ledger.ordered planned",
        "ledger.ordered released",
        "ledger.ordered applied",
    },
}


def test_one_trace_id_in_the_lines_of_every_process(tmp_path: Path) -> None:
    home = tmp_path / "home"

    async def furnished() -> None:
        await create_home(load(home=home))
        async with open_home(load(home=home)) as made:
            await populate(World(made, Clock(), home))

    asyncio.run(furnished())
    host(InProcess(home), tmp_path)
    environment = {**os.environ, "UNEFOIS_HOME": str(home), "UNEFOIS_LOG_LEVEL": "debug", "LANG": "C.UTF-8"}
    environment["UNEFOIS_LEDGER_WINDOW_SECONDS"] = "1"
    words = [word for name in FIELDS for word in ("--field", name)]
    grant = ("grant", "--person", str(elise_in(tmp_path)), "--recipient", "urn:fr:siret:21350238800019")
    _run(environment, *grant, "--type", "address.changed", "--purpose", "local-services", *words)

    with ExitStack() as stack:
        told = {}
        for role in ROLES:
            said = stack.enter_context((tmp_path / f"{role}.log").open("wb"))
            command = [sys.executable, "-m", "broker", "serve", "--role", role, "--listen", "none", "--json"]
            process = stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, env=environment, stderr=said, stdout=subprocess.PIPE)
            )
            stack.callback(process.kill)
            told[role] = process
        traced = {**environment, "TRACEPARENT": f"00-{TRACE}-00f067aa0ba902b7-01"}
        _run(traced, "declare", str(move_in(tmp_path)), "--type", "address.changed")
        for role, process in told.items():
            assert process.stdout is not None
            trace = None if role == "ledger" else TRACE  # whose entries it orders the ledger does not know
            while not EXPECTED[role] <= _steps(tmp_path / f"{role}.log", trace):
                assert process.stdout.readline(), f"{role} ended"  # each line is a turn that moved something
        for process in told.values():
            process.send_signal(signal.SIGTERM)
        assert [0, 0, 0] == [process.wait(30) for process in told.values()]
    assert set() == _steps(tmp_path / "ledger.log", TRACE)


def _run(environment: dict[str, str], *words: str) -> None:
    command = [sys.executable, "-m", "broker", *words, "--json"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)


def _steps(log: Path, trace: str | None) -> set[str]:
    """The events, with their kind, of the lines that have this trace id; None: of those that have none."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return {f"{one['event']} {one.get('kind', '')}".strip() for one in lines if one.get("trace_id") == trace}
