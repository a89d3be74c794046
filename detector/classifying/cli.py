"""`detector train-classifier CONFIG [--set SECTION.KEY=VALUE …]`."""

from typing import Any

import click

from detector.errors import UsageError

__all__ = ["train_classifier"]

# What must be there besides the base install: extra `[train]`.
_NEEDED = ("torch", "torchvision", "safetensors", "albumentations", "matplotlib", "cv2")


@click.command("train-classifier")
@click.argument("config", type=click.Path(dir_okay=False), metavar="CONFIG")
@click.option("--data", metavar="DIR", help="Holds train/CLASS/ and val/CLASS/, or CLASS/ alone.  [data.folder]")
@click.option("--out", metavar="DIR", help="Folder of weights, checkpoint and curves.  [train.out]")
@click.option("--arch", metavar="NAME", help="resnet101, resnet50, resnet18, inception_v3 or cnn.  [model.arch]")
@click.option("--device", metavar="auto|cpu|cuda", help="Where it is learned.  [train.device]")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the folder of --out.")
@click.option("--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Another setting, as in TOML.")
def train_classifier(config: str, overrides: tuple[str, ...], **options: Any) -> int:
    """Train a whole-picture classifier as CONFIG says, a TOML file with [model], [data] and [train].

    Each class is a folder of pictures; their names are model.classes. Without train/ and val/ a share of each class
    is set aside for validation, near-copies together. Under torchrun each process takes its share.

    \b
    Examples:
      detector train-classifier configs/classifier_r101.toml --data photos --out runs/five
      detector train-classifier configs/classifier_r101.toml --data photos --arch inception_v3
      detector train-classifier configs/classifier_r101.toml --data photos --arch cnn --set 'train.freeze=[{}]'
      detector train-classifier configs/classifier_r101.toml --set train.batch_size=32 --set train.lr=0.005
      detector train-classifier configs/classifier_r101.toml --data photos --out runs/five --resume
      torchrun --standalone --nproc-per-node 8 -m detector.classifying.run configs/classifier_r101.toml --data photos
    """
    try:
        from detector.classifying.config import load_classifier_config
        from detector.classifying.run import train_classifier as run
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _NEEDED:
            raise
        raise UsageError(
            f"training needs {error.name}; it is not installed; type, in the checkout: pip install '.[train]'"
        ) from error
    places = {"data": "data.folder", "out": "train.out", "arch": "model.arch", "device": "train.device"}
    # Quoted as TOML quotes: a folder may be called 7, or true.
    chosen = [f"{place}={_quoted(options[name])}" for name, place in places.items() if options[name] is not None]
    if options["resume"]:
        chosen.append("train.resume=true")
    result = run(load_classifier_config(config, [*overrides, *chosen]))
    click.echo(f"{result.step} steps; weights in {result.out}")
    return 0


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
