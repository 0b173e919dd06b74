"""`verve completion`: the script by which a shell completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_VERVE_COMPLETE"
"""The variable by which the script asks `verve` for words. `click` derives the same name."""


@click.command(
    help="Print a script that completes the commands and options of verve in a shell.",
    epilog='For bash: eval "$(verve completion bash)" in ~/.bashrc. For zsh: the same with zsh, in '
    "~/.zshrc after compinit. For fish: verve completion fish > "
    "~/.config/fish/completions/verve.fish.",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes the commands and options of verve in a shell."""
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - the choices are click's
    maker = found(context.find_root().command, {}, "verve", VARIABLE)
    # Not `source()`: of bash it starts the shell to learn its version, and bash may be elsewhere.
    click.echo(maker.source_template % maker.source_vars())
