"""Whole folders: beside a loop over single files, and beside nudenet's detect_batch; ratios of one run.

    python benchmarks/folders.py                          # some ten minutes on two cores
    python benchmarks/folders.py --pictures 8 --rounds 3  # a quick look
    python benchmarks/folders.py --device cuda --model retinanet-r50

The same pictures in one process, interleaved as in speed.py: A B A B, one uncounted call before each counted one. A row
whose slower side moved by more than 15 % between its quartiles is marked `~`: repeat it on a quieter machine. Each
picture has noise of its own, so that none counts as a copy of another.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from speed import SIZES, compare

import censor
import detector
from censor.api import run_to_file
from censor.batch.gather import batched
from censor.batch.journal import Journal
from censor.batch.plan import Plan, plan_folder
from censor.batch.run import run_items
from censor.pipeline import Pipeline
from detector.parallel import map_in_order

ROOT = Path(__file__).resolve().parent.parent
# What nudenet's detect_batch takes together unless it is told, and more.
PEER_BATCHES = (4, 16)


def make_folder(folder: Path, size: tuple[int, int], count: int) -> None:
    """Write `count` pictures: rendered mannequins in turn, enlarged, each with its own sensor-like noise."""
    sources = sorted((ROOT / "tests" / "data" / "mannequins").glob("*.jpg"))
    height, width = size
    folder.mkdir()
    for index in range(count):
        with Image.open(sources[index % len(sources)]) as image:
            pixels = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
        noise = np.random.default_rng(index).normal(0, 4, (height, width, 1)).astype(np.int16)
        noisy = np.clip(pixels.astype(np.int16) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{index:04}.jpg", quality=90)


def one_by_one(pipeline: Pipeline, plan: Plan) -> None:
    """Censor a folder as a shell's loop would, without starting a process a file."""
    for item in plan.items:
        run_to_file(pipeline, item.source, item.target)


def as_folder(pipeline: Pipeline, plan: Plan, workers: int, *, afresh: bool = True) -> None:
    """Censor a folder as `censor photos/ clean/` does, its journal included."""
    path = Path(plan.target, "journal.jsonl")
    if afresh:
        path.unlink(missing_ok=True)
    run = partial(run_to_file, pipeline)
    with Journal(str(path), plan.target, "benchmark") as journal:
        for item, result in run_items(plan.items, journal, pictures=run, videos=run, workers=workers):
            if isinstance(result, Exception):
                raise SystemExit(f"{item.source}: {result}")


def detect_all(model: Any, paths: list[str], workers: int) -> None:
    """Detect in a folder as `detector detect` does."""
    for _, found in map_in_order(model.detect, paths, workers):
        if isinstance(found, Exception):
            raise found


def rows(place: Path, arguments: argparse.Namespace) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (row, size, figures) for every row of the table."""
    from nudenet import NudeDetector

    peer, cores = NudeDetector(), os.cpu_count() or 1
    options = {"device": arguments.device, "model": arguments.model}
    alone = censor.build_pipeline(**options)
    folder = batched(censor.build_pipeline(**options, threads=1, ahead=False))
    model = detector.load(arguments.model, device=arguments.device, threads=1)
    bare = {"second_opinion": False, "verify": False}
    bare_folder = batched(censor.build_pipeline(**options, **bare, threads=1, ahead=False))
    for name in arguments.sizes:
        source, target = place / f"in {name}", place / f"out {name}"
        make_folder(source, SIZES[name], arguments.pictures)
        target.mkdir()
        plan = plan_folder(str(source), str(target))
        paths = [item.source for item in plan.items]

        def measure(peer_call: Callable[[], Any], our_call: Callable[[], Any]) -> dict[str, Any]:
            return compare(peer_call, our_call, arguments.rounds)

        loop, whole = partial(one_by_one, alone, plan), partial(as_folder, folder, plan, cores)
        yield "a loop over single files : the folder", name, measure(loop, whole)
        yield (
            "the folder : the folder done before",
            name,
            measure(whole, partial(as_folder, folder, plan, cores, afresh=False)),
        )
        ours = partial(detect_all, model, paths, cores)
        for size in PEER_BATCHES:
            batch = partial(peer.detect_batch, paths, batch_size=size)
            yield f"nudenet detect_batch({size}) : detect", name, measure(batch, ours)
        censoring = partial(as_folder, bare_folder, plan, cores)
        yield (
            "nudenet detect_batch(4), writing nothing : censor",
            name,
            measure(partial(peer.detect_batch, paths), censoring),
        )


def main() -> None:
    """Run everything and print the table in Markdown, and the figures as JSON on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["0.25 MP", "1.2 MP", "12 MP"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", help="detector of ours; the default one unless named")
    parser.add_argument("--json", type=Path, help="write all figures here")
    arguments = parser.parse_args()
    table: dict[str, dict[str, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for row, size, figures in rows(Path(name), arguments):
            table.setdefault(row, {})[size] = figures
            print(f"{size:>8}  {row}: {figures['ratio']:.2f}", file=sys.stderr)
    print(f"{arguments.pictures} pictures, {os.cpu_count()} cores, {arguments.device}")
    print("| time of the first over the second | " + " | ".join(arguments.sizes) + " |")
    print("|---|" + "---|" * len(arguments.sizes))
    for row, cells in table.items():
        shown = [f"{cell['ratio']:.2f}{'' if cell['steady'] else ' ~'}" for cell in cells.values()]
        print(f"| {row} | " + " | ".join(shown) + " |")
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
