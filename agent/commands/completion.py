"""`moot completion`."""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  moot completion bash > ~/.local/share/bash-completion/completions/moot
    zsh:   moot completion zsh > "${fpath[1]}/_moot"
    fish:  moot completion fish > ~/.config/fish/completions/moot.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(f"no completion for {shell}")
    click.echo(found(ctx.find_root().command, {}, "moot", "_MOOT_COMPLETE").source())
