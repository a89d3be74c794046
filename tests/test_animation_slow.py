"""What takes longer: memory over many frames, and a process that is killed while it writes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from censor.api import run_to_file
from censor.atomic import leftovers
from detector.errors import RetinaCensorError
from detector.limits import Limits
from tests.animation_samples import animated, drawn, pipeline
from tests.test_animation_pages import tiff

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow

CODE = """
import resource, sys
from PIL import Image
from censor.api import run_to_file
from tests.animation_samples import pipeline, SECRET
source, target, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
def frames():
    for i in range(count):
        image = Image.new("RGB", (320, 240), (40, i % 256, 90))
        image.paste(SECRET, (i % 250, 60, i % 250 + 40, 100))
        yield image
from censor.animation.plan import Plan
from censor.animation.writing import write_frames
from fractions import Fraction
plan = Plan(format=source.rpartition(".")[2].upper(), size=(320, 240), durations=(Fraction(1, 25),) * count, plays=0,
            transparent=False, timescale=None if source.endswith("png") else {"gif": 100}.get(source[-3:], 1000))
with open(source, "w+b") as file:
    write_frames(file, frames(), plan)
print("ready", flush=True)
report = run_to_file(pipeline(), source, target)
assert report.verified and len(report.frames) == count
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "avif"])
def test_memory_does_not_grow_with_the_number_of_frames(tmp_path: Path, kind: str) -> None:
    """400 frames decoded are 117 MB as RGBA; a tenth as many need nearly as much as all."""
    peaks = []
    for count in (40, 400):
        source, target = tmp_path / f"in{count}.{kind}", tmp_path / f"out{count}.{kind}"
        with start(str(source), str(target), str(count)) as process:
            out, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        peaks.append(int(out.split()[-1]))
    assert peaks[1] - peaks[0] < 40


@pytest.mark.parametrize("delay", [0.02, 0.3, 0.8, 1.5])
def test_a_killed_process_leaves_the_old_file_or_the_new_one(tmp_path: Path, delay: float) -> None:
    target = tmp_path / "out.gif"
    old = animated("GIF", drawn(2))
    target.write_bytes(old)
    with start(str(tmp_path / "in.gif"), str(target), "300") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert target.read_bytes() == old
    assert {path.name for path in tmp_path.iterdir()} - {path.name for path in leftovers(tmp_path)} == {
        "in.gif",
        "out.gif",
    }


def test_mutated_animations_raise_our_errors_or_are_censored(tmp_path: Path) -> None:
    rng = random.Random(6)
    limits = Limits(
        max_bytes=1 << 20, max_pixels=1_000_000, max_side=5_000, max_frames=200, max_total_pixels=20_000_000
    )
    sources = [
        animated(kind, drawn(4, alpha=alpha)) for kind in ("GIF", "PNG", "WEBP", "AVIF") for alpha in (False, True)
    ]
    sources += [tiff(), tiff(big_tiff=True)]
    refused = written = 0
    for _ in range(600):
        data = bytearray(rng.choice(sources))
        for _ in range(rng.choice((1, 1, 4, 16))):
            at = rng.randrange(rng.choice((len(data), 120)))
            data[at : at + rng.choice((0, 1, 4))] = rng.choice((b"\xff\xff\xff\xff", bytes(4), rng.randbytes(1), b""))
        target = tmp_path / "out.gif"
        try:
            run_to_file(pipeline(), bytes(data), target, limits=limits)
            written += 1
        except RetinaCensorError:
            refused += 1
        target.unlink(missing_ok=True)
        assert list(tmp_path.iterdir()) == []
    assert refused > 300
    assert written > 20
