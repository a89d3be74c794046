"""`detector completion bash|zsh|fish`: the lines that teach a shell to complete both commands' options and files."""

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

# Both commands, and the variable by which click's script asks each of them.
COMMANDS = {"censor": "_CENSOR_COMPLETE", "detector": "_DETECTOR_COMPLETE"}


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print what makes a shell complete the options and files of `censor` and `detector`.

    \b
    Examples:
      eval "$(detector completion bash)"              # in ~/.bashrc
      eval "$(detector completion zsh)"               # in ~/.zshrc
      detector completion fish > ~/.config/fish/conf.d/retina-censor.fish
    """
    writer = get_completion_class(shell)
    assert writer is not None
    for name, variable in COMMANDS.items():
        print(writer(click.Command(name), {}, name, variable).source())
    return 0
