"""`detector train CONFIG [section.key=value ...]`."""

import click

from detector.errors import UsageError

__all__ = ["train"]

# What must be there besides the base install: extra `[train]`.
_NEEDED = ("torch", "torchvision", "safetensors", "albumentations", "pycocotools", "matplotlib")


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("config", type=click.Path(dir_okay=False), metavar="CONFIG")
@click.argument("overrides", nargs=-1, metavar="[SECTION.KEY=VALUE]...")
def train(config: str, overrides: tuple[str, ...]) -> int:
    """Train a detector as CONFIG says, a TOML file with [model], [data] and [train].

    Values are written as in TOML. Under torchrun each process takes its share.

    \b
    Examples:
      detector train configs/retinanet_r101.toml
      detector train configs/retinanet_r50.toml train.lr=0.005 train.batch_size=8
      detector train configs/retinanet_r101.toml train.resume=true
      torchrun --standalone --nproc-per-node 8 -m detector.training.run configs/retinanet_r101.toml
    """
    try:
        from detector.training.config import load_config
        from detector.training.run import train as run
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _NEEDED:
            raise
        raise UsageError(
            f"training needs {error.name}; it is not installed; type, in the checkout: pip install '.[train]'"
        ) from error
    result = run(load_config(config, overrides))
    click.echo(f"{result.step} steps; weights in {result.out}")
    return 0
