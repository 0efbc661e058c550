"""Commands login and logout: whoever has an account signs in with OpenID Connect, in the browser of this machine.

Refuses: nothing of its own.
Keeps: nothing of its own; `broker.services.login` does it.
"""

import webbrowser
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import command, say
from broker.cli.session import at_home, settings
from broker.cli.show import answer, line, pairs

if TYPE_CHECKING:
    from broker.setup.wiring import Home


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    command(app, "login")(login)
    command(app, "logout")(logout)


def login(
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page, or only print it.")] = True,
) -> None:
    """Sign in with OpenID Connect: commands are yours then, for `session_minutes`.

    Settings: `oidc_issuer`, `oidc_client_id`. The account has this issuer and your `sub` there: `unefois operator add`.

    Example: unefois login
    """

    def show(url: str) -> None:
        """On the standard error: what is answered stays one document."""
        typer.echo(say("Ouvrez dans votre navigateur :", "Open in your browser:") + f"\n{url}", err=True)
        if browser:
            webbrowser.open(url)

    async def work(home: "Home") -> dict[str, Any]:
        from broker.services import login as services
        from broker.shapes import time_of

        words = say("Revenez au terminal.", "Go back to the terminal.")
        account, until = await services.login(home, show, words)
        return {"name": account.name, "until": time_of(until)}

    told = at_home(work)
    words = (say("connecté", "signed in"), say("jusqu'à", "until"))
    answer(told, lambda: pairs([(words[0], told["name"]), (words[1], told["until"])]))


def logout() -> None:
    """End the session on this machine.

    Example: unefois logout
    """
    from broker.services.login import logout as end

    there = end(settings())
    text = say("Session terminée.", "Session ended.") if there else say("Pas de session.", "No session.")
    answer({"ended": there}, lambda: line(text))
