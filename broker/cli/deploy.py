"""Commands deploy: the files by which a broker is deployed, out of the wheel: units, proxy, alerts, dashboard, image;
and the SQL for the logins of its roles.

Refuses: to write over a file, unless it is told to.
Keeps: what it writes is what the tests try, byte for byte, but for how the image is built: from a wheel that lies
beside it, not from a checkout.
"""

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from broker.cli.frame import command, say
from broker.cli.show import answer, line
from schemas.errors import Refused

app = typer.Typer(
    no_args_is_help=True,
    help="The files by which a broker is deployed: units, proxy, alerts, image; and the logins of its roles.",
)

PACKED: Final = Path(__file__).parents[1] / "deploy"
"""In a wheel (`hatch_build.py`)."""
CHECKOUT: Final = Path(__file__).parents[2]
SECRETS: Final = "secrets"
_PREFIX: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_FROM_A_CHECKOUT: Final = "build: {context: .., dockerfile: deploy/Dockerfile}"
_FROM_A_WHEEL: Final = "build: {context: .}"


@command(app, "write")
def write(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made where it is not there.")],
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Write over files that are there: after an upgrade.")
    ] = False,
) -> None:
    """Write systemd units, nginx, Prometheus, Grafana, compose and Dockerfile. docs/install.md says what goes where.

    Example: unefois deploy write deploy
    """
    files = deployed()
    if not files:
        raise Refused("deploy.not-packed")
    there = sorted(name for name in files if (folder / name).exists())
    if there and not replace:
        raise Refused("deploy.exists", file=str(folder / there[0]))
    try:
        for name, (content, mode) in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
    except OSError as error:
        raise Refused("cli.cannot-write", file=str(folder), error=type(error).__name__) from None
    names = sorted(files)

    def text() -> None:
        for name in names:
            line(str(folder / name))
        line(say("Ensuite : docs/install.md.", "Next: docs/install.md."))

    answer({"folder": str(folder), "files": names}, text)


@command(app, "logins")
def logins(
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="TEXT", help="What the names of the logins begin with.")
    ] = "unefois_",
) -> None:
    """Print the SQL that gives each role a PostgreSQL login of its own, with the rights that it needs and no others.

    The owner of the tables runs it, after `unefois init` and again after each `unefois migrate` (docs/install.md).

    Example: unefois deploy logins > logins.sql
    """
    from broker.setup.rights import READER, ROLES, login, sql

    if _PREFIX.fullmatch(prefix) is None:
        raise Refused("deploy.prefix", "/prefix")
    told = sql(prefix)
    names = {role.value: login(role, prefix) for role in ROLES} | {READER: f"{prefix}{READER}"}
    answer({"logins": names, "sql": told}, lambda: line(told.rstrip()))


def deployed() -> dict[str, tuple[bytes, int]]:
    """What is written, by its path: content and mode. Empty where the program has none of it."""
    root = PACKED if PACKED.is_dir() else CHECKOUT / "deploy"
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    found |= {"requirements/server.txt": _requirements(root)}
    told = {
        name: (path.read_bytes(), 0o755 if name.startswith("bin/") else 0o644)
        for name, path in sorted(found.items())
        if not name.startswith(f"{SECRETS}/") and path.is_file()
    }
    if "compose.yaml" not in told:
        return {}
    told["Dockerfile"] = told.pop("wheel.Dockerfile")
    compose = told["compose.yaml"][0].decode()
    told["compose.yaml"] = compose.replace(_FROM_A_CHECKOUT, _FROM_A_WHEEL).encode(), 0o644
    return told


def _requirements(root: Path) -> Path:
    packed = root / "requirements/server.txt"
    return packed if packed.is_file() else CHECKOUT / "requirements/server.txt"
