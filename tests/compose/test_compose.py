"""deploy/Dockerfile is built and deploy/compose.yaml is run: up from nothing, killed, robbed, down, and up again."""

from json import loads
from typing import Final

import pytest

from broker.cli.exits import Exit
from broker.ports import KeyKind
from broker.setup.roles import ProcessRole, secrets_of
from tests.compose.engine import names
from tests.compose.town import FILE, GATE, ONCE, RENNES, SERVING, Town

KEYS: Final = "/var/lib/unefois/keys"
_KEPT: Final = f"cd {KEYS} && find . -type f ! -path './in-use/*' ! -name lock -exec sha256sum {{}} + | sort"
"""Every key, by its digest."""
_READABLE: Final = f"cd {KEYS} && for each in */*; do [ -r $each ] && echo $each; done; true"


def test_the_image_tells_nothing_of_the_machine_that_built_it(town: Town) -> None:
    (told,) = loads(town.room.podman("inspect", "unefois"))
    history = town.room.podman("history", "--no-trunc", "unefois")
    left = town.room.podman(
        "run", "--rm", "--entrypoint", "sh", "unefois", "-c", "ls -A /var/lib/unefois /tmp /etc/apt/sources.list.d"
    )

    assert [] == [name for name in names("PIP_") if name in str(told) + history]
    assert ["unefois"] == told["Config"]["Entrypoint"]
    assert "unefois" == told["Config"]["User"]
    assert ["/etc/apt/sources.list.d:", "/tmp:", "/var/lib/unefois:"] == [line for line in left.splitlines() if line]


def test_every_service_of_the_file_is_up(town: Town) -> None:
    wanted = {
        f"unefois_{name}_{number + 1}"
        for name, one in FILE["services"].items()
        if name not in ONCE
        for number in range(one.get("deploy", {}).get("replicas", 1))
    }

    assert wanted == set(town.serving())
    assert "unefois_router_2" in wanted


@pytest.mark.parametrize("name", SERVING)
def test_a_role_reads_its_own_keys_and_writes_into_its_home_only(town: Town, name: str) -> None:
    container = f"unefois_{name}_1"
    own = {kind.value for kind in secrets_of(ProcessRole(name))}
    allowed = own | {"in-use"}  # locks of the processes that use the key store

    readable = town.room.podman("exec", container, "sh", "-c", _READABLE).split()
    wrote = town.room.attempt("podman", "exec", container, "sh", "-c", "touch /opt/unefois/it /etc/it; touch /tmp/it")
    capabilities = town.room.podman("exec", container, "grep", "^Cap[PEB]", "/proc/1/status").split()[1::2]

    assert {each.partition("/")[0] for each in readable} <= allowed
    assert KeyKind.HOME.value in {each.partition("/")[0] for each in readable}
    assert 2 == wrote.stderr.count("Read-only file system")
    assert [] == [each for each in capabilities if int(each, 16)]


def test_a_declaration_goes_through_from_outside(town: Town) -> None:
    declared = town.declared()

    assert declared in town.received()
    (step,) = town.track(declared)["steps"]
    assert (RENNES, "done") == (step["recipient"], step["progress"])


def test_inside_nobody_gets_out_and_from_outside_nobody_gets_in_elsewhere(town: Town) -> None:
    connect = "import socket; socket.create_connection(('172.31.84.1', 8470), 3)"
    out = town.room.attempt("podman", "exec", "unefois_router_1", "python", "-c", connect)

    assert "Network is unreachable" in out.stderr or "timed out" in out.stderr
    assert GATE.rpartition(":")[2] in town.room.podman("port", "unefois_gate_1")
    assert "" == town.room.podman("port", "unefois_postgres_1").strip()


def test_each_service_is_killed_and_comes_back_and_loses_nothing(town: Town) -> None:
    before = town.declared()
    for name in ("unefois_postgres_1", "unefois_kafka_1"):
        town.kill(name)
        town.healthy(name)
    for name in set(town.serving()) - {"unefois_postgres_1", "unefois_kafka_1"}:
        town.kill(name)
    for name in town.serving():
        town.healthy(name)
    after = town.declared()

    found: list[str] = []
    while not {before, after} <= set(found):
        found += town.received()
    assert 2 == len(found)


def test_it_stops_within_its_grace_refuses_a_lost_database_and_goes_on_when_it_is_put_back(town: Town) -> None:
    declared = town.declared()
    (before,) = town.operator(_KEPT)
    ours = [name for name in town.serving() if name.split("_")[1] in SERVING]
    town.compose("stop", *SERVING)
    assert dict.fromkeys(ours, 0) == {name: town.state(name)["ExitCode"] for name in ours}  # 137: it had to be killed
    town.down()
    assert [] == town.serving()
    kept = town.room.folder / "postgres.tar"
    town.room.podman("volume", "export", "unefois_postgres", "--output", kept)
    town.room.podman("volume", "rm", "unefois_postgres")

    town.compose("up", "-d", "--no-build", "init")

    assert Exit.REFUSED == town.ended("init"), town.words("unefois_init_1")
    assert "home.empty-database" in town.words("unefois_init_1")
    assert [before] == town.operator(_KEPT)
    town.down()
    town.room.podman("volume", "rm", "unefois_postgres")
    town.room.podman("volume", "create", "unefois_postgres")
    town.room.podman("volume", "import", "unefois_postgres", kept)
    town.up()
    assert declared == town.track(declared)["declaration"]
    assert declared in town.received()
