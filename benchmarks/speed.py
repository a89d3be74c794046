"""Speed beside nudenet 3.4.2: same pictures, same process, interleaved, as ratios (its time over ours).

    python benchmarks/speed.py                 # the whole table, about ten minutes on two cores
    python benchmarks/speed.py --rounds 5      # a quick look
    python benchmarks/speed.py --busy          # with a neighbour that keeps one core busy

Each round runs A B A B, with a short rest and one uncounted call before each counted one (the threads of a session
that has just run spin on for a while, and would slow the other down). A row whose peer moved by more than 15 % between
its quartiles is marked `~`: repeat it on a quieter machine. Absolute times drift with the machine and are not shown.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import censor
import detector
from censor.api import run_to_file
from detector.parallel import map_in_order

ROOT = Path(__file__).resolve().parent.parent
# Height and width for 0.25, 1.2, 12 and 24 megapixels, 3:4 and 2:3 as cameras give them.
SIZES = {"0.25 MP": (576, 432), "1.2 MP": (1280, 960), "12 MP": (4000, 3000), "24 MP": (6000, 4000)}
FOLDER = 16
# The peer's middle half may spread over this share of its median before a row is called unsteady.
UNSTEADY = 0.15
# Seconds of rest before the other party's turn.
SETTLE = 0.05


def make_picture(size: tuple[int, int], source: Path, path: Path) -> None:
    """Enlarge a rendered mannequin and add sensor-like noise, so that bytes a megapixel are those of a camera."""
    height, width = size
    with Image.open(source) as image:
        pixels = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    noise = np.random.default_rng(0).normal(0, 4, (height, width, 1)).astype(np.int16)
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(path, quality=90)


def compare(peer: Callable[[], Any], ours: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """Time two calls in turn; return the median ratio with its 10th percentile."""
    times: dict[str, list[float]] = {"peer": [], "ours": []}
    for _ in range(rounds):
        for name, call in (("peer", peer), ("ours", ours)):
            time.sleep(SETTLE)
            call()
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    ratios = [peer / ours for peer, ours in zip(times["peer"], times["ours"], strict=True)]
    quartiles = statistics.quantiles(times["peer"], n=4)
    spread = (quartiles[2] - quartiles[0]) / statistics.median(times["peer"])
    ratio = statistics.median(times["peer"]) / statistics.median(times["ours"])
    return {
        "ratio": ratio,
        "p10": statistics.quantiles(ratios, n=10)[0],
        "steady": spread <= UNSTEADY,
        "rounds": rounds,
    }


@contextmanager
def busy_neighbour(wanted: bool) -> Iterator[None]:
    """Keep one core busy with another process."""
    if not wanted:
        yield
        return
    process = multiprocessing.Process(target=_spin, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()


def _spin() -> None:
    while True:
        pass


def rows(folder: Path, rounds: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (row, size, figures) for every row of the table."""
    from nudenet import NudeDetector

    peer = NudeDetector()
    model, single = detector.load(), detector.load(threads=1)
    pipelines = {
        "": censor.build_pipeline(model=model, verify=False, second_opinion=False),
        ", verified": censor.build_pipeline(model=model, second_opinion=False),
        ", verified, second opinion": censor.build_pipeline(model=model),
    }
    for size_name, size in SIZES.items():
        pictures = {"something found": folder / f"found-{size[0]}.jpg", "clean": folder / f"clean-{size[0]}.jpg"}
        make_picture(size, ROOT / "examples" / "in.jpg", pictures["something found"])
        make_picture(size, ROOT / "tests" / "data" / "mannequins" / "0008.jpg", pictures["clean"])
        count = rounds if size[0] < 3000 else max(rounds // 2, 5)

        one = pictures["something found"]
        yield "detect, one call", size_name, compare(partial(peer.detect, str(one)), partial(model.detect, one), count)
        many = list(pictures.values()) * (FOLDER // 2)
        folders = (partial(_peer_loop, peer, many), partial(_our_folder, single, many))
        yield "detect, a folder, all cores", size_name, compare(*folders, max(count // 4, 3))

        out = folder / "out.jpg"
        for label, pipeline in pipelines.items():
            for what, path in pictures.items():
                report = run_to_file(pipeline, path, out)
                if report.method != ("painted" if what == "something found" else "lossless"):
                    raise SystemExit(f"the benchmark's pictures must be found and clean: {report.summary()}")
                calls = (
                    partial(peer.censor, str(path), output_path=str(out)),
                    partial(run_to_file, pipeline, path, out),
                )
                yield f"censor, one call, {what}{label}", size_name, compare(*calls, count)


def _peer_loop(peer: Any, paths: list[Path]) -> None:
    """Detect in a folder as nudenet does it fastest here: one by one, two threads in its session."""
    for path in paths:
        peer.detect(str(path))


def _our_folder(model: Any, paths: list[Path]) -> None:
    for _, found in map_in_order(model.detect, paths, os.cpu_count() or 1):
        if isinstance(found, Exception):
            raise found


def start_up(folder: Path, times: int = 7) -> dict[str, Any]:
    """Cold starts, as multiples of a bare interpreter's, and the peak memory of one run."""
    example, large, out = ROOT / "examples" / "in.jpg", folder / "found-4000.jpg", folder / "out.jpg"
    ours = [sys.executable, "-c", "from censor.cli import main; main()", "--quiet"]
    peer = "import sys; from nudenet import NudeDetector; NudeDetector().censor(sys.argv[1], output_path=sys.argv[2])"
    commands = {
        "bare interpreter": [sys.executable, "-c", "pass"],
        "censor --help": [*ours, "--help"],
        "censor in.jpg out.jpg": [*ours, str(example), str(out)],
        "censor --no-verify --no-second-opinion in.jpg out.jpg": [
            *ours,
            "--no-verify",
            "--no-second-opinion",
            str(example),
            str(out),
        ],
        "nudenet, the same picture": [sys.executable, "-c", peer, str(example), str(out)],
    }
    cold: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(times):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            cold[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in cold.items()}
    return {
        "cold_start": {name: value / medians["bare interpreter"] for name, value in medians.items()},
        "peak_memory_mb": {
            "censor, 12 MP": _peak_memory(ours, [str(large), str(out)]),
            "nudenet, 12 MP": _peak_memory([sys.executable, "-c", peer], [str(large), str(out)]),
        },
    }


def _peak_memory(command: list[str], arguments: list[str]) -> float:
    """Run `python -c CODE` and return its own peak in MB: the one that a parent is told counts the parent's too."""
    python, flag, code, *rest = command
    watched = f"import atexit; atexit.register(lambda: print(open('/proc/self/status').read())); {code}"
    done = subprocess.run([python, flag, watched, *rest, *arguments], capture_output=True, text=True, check=True)
    return next(int(line.split()[1]) / 1024 for line in done.stdout.splitlines() if line.startswith("VmHWM"))


def machine(folder: Path) -> dict[str, Any]:
    """Say what the figures were taken on."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = next((line.split(":")[1].split() for line in cpu.splitlines() if line.startswith("flags")), [])
    return {
        "cores": os.cpu_count(),
        "cpu": next((line.split(":")[1].strip() for line in cpu.splitlines() if line.startswith("model name")), "?"),
        "flags": [flag for flag in flags if flag.startswith(("avx", "amx"))],
        "python": platform.python_version(),
        "bytes": {path.name: path.stat().st_size for path in sorted(folder.glob("*-*.jpg"))},
    }


def main() -> None:
    """Run everything and print the table in Markdown, and the figures as JSON on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--busy", action="store_true", help="keep one core busy meanwhile")
    parser.add_argument("--json", type=Path, help="write all figures here")
    arguments = parser.parse_args()
    table: dict[str, dict[str, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name, busy_neighbour(arguments.busy):
        folder = Path(name)
        for row, size, figures in rows(folder, arguments.rounds):
            table.setdefault(row, {})[size] = figures
            print(f"{size:>8}  {row}: {figures['ratio']:.2f}", file=sys.stderr)
        results = {"ratios": table, **start_up(folder), "machine": machine(folder)}
    print("| nudenet's time over ours | " + " | ".join(SIZES) + " |")
    print("|---|" + "---|" * len(SIZES))
    for row, cells in table.items():
        shown = [f"{cell['ratio']:.2f}{'' if cell['steady'] else ' ~'}" for cell in cells.values()]
        print(f"| {row} | " + " | ".join(shown) + " |")
    for name, value in results["cold_start"].items():
        print(f"cold start, in bare interpreters: {name}: {value:.1f}")
    for name, value in results["peak_memory_mb"].items():
        print(f"peak memory: {name}: {value:.0f} MB")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
