"""Completion: `unefois completion bash`: what a shell is told so that Tab completes commands, options and their values.

Refuses: nothing of its own.
Keeps: what completes is this program itself, asked by the shell, so it knows what this version knows. A command that
nobody completes imports nothing of it.
"""

from enum import Enum
from typing import Annotated

import typer

from broker.cli.frame import command
from broker.cli.helping import COMPLETING


class Shell(Enum):
    """A shell that can be told."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""

    @command(app, "completion")
    def completion(shell: Annotated[Shell, typer.Argument(help="For which shell.")]) -> None:
        """Print what a shell needs to complete this program's commands and options with Tab.

        For bash: unefois completion bash > ~/.local/share/bash-completion/completions/unefois

        For zsh, into a folder of `fpath`: unefois completion zsh > ~/.zfunc/_unefois

        For fish: unefois completion fish > ~/.config/fish/completions/unefois.fish

        Example: unefois completion bash
        """
        from typer._completion_shared import get_completion_script  # Typer has no other name for it

        print(get_completion_script(prog_name="unefois", complete_var=COMPLETING, shell=shell.value))
