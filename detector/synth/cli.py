"""`detector synth OUT --count N --seed S`: a data set of rendered mannequins."""

import time
from pathlib import Path

import click

from detector.cliparts import progress, workers_option
from detector.errors import UsageError

__all__ = ["synth"]

# Of `detector.synth.writer.FORMATS`, which a command line must not load to say what it can do; a test compares them.
FORMATS = ("jpg", "png")


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(1), required=True, metavar="N", help="Pictures to render.")
@click.option("--seed", type=click.IntRange(0), required=True, metavar="S", help="Decides every picture.")
@click.option("--size", type=click.IntRange(32, 4096), metavar="PX", help="Side of the pictures.  [384]")
@click.option(
    "--split", default="train", metavar="NAME", help="Splits of one seed share no picture and no body.  [train]"
)
@click.option("--format", "file_format", type=click.Choice(FORMATS), default="jpg", help="Of the pictures.  [jpg]")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="TOML with the shares of scenes.")
@workers_option
def synth(
    out: Path,
    count: int,
    seed: int,
    size: int | None,
    split: str,
    file_format: str,
    config: Path | None,
    workers: int,
) -> int:
    """Render adult mannequins with exact boxes into the new folder OUT.

    Writes the pictures, annotations.json (COCO, the six classes) and manifest.json (seed, versions, the parameters of
    each picture). The same seed gives the same pictures, with any number of workers. Needs the extra [synth].

    \b
    Examples:
      detector synth mannequins --count 1000 --seed 1
      detector synth mannequins-test --count 200 --seed 1 --split test --size 512
    """
    try:
        from detector.synth.settings import read_settings
        from detector.synth.writer import ANNOTATIONS, WriteOptions, write_set
    except ModuleNotFoundError as error:
        if error.name not in ("cv2", "embreex"):
            raise
        raise UsageError(
            f"rendering needs {error.name}; it is not installed; type, in the checkout: pip install '.[synth]'"
        ) from error
    options = WriteOptions(seed=seed, split=split, settings=read_settings(config, size=size), file_format=file_format)
    begun = time.perf_counter()
    with progress(count) as say:
        coco = write_set(out, count, options, workers=workers, tick=lambda: say(None))
    speed = count / (time.perf_counter() - begun)
    exposed = sum(not note["iscrowd"] for note in coco.annotations)
    click.echo(f"{out / ANNOTATIONS}: {count} pictures, {exposed} boxes, {len(coco.annotations) - exposed} to ignore")
    click.echo(f"{speed:.2f} pictures/s with {workers} workers")
    return 0
