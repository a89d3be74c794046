"""Clips for the tests of video: coloured parts that move over a grey background, and a detector of their colours."""

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from moving_parts import BREAST, BUTTOCKS, MovingPart

from censor.pipeline import Pipeline
from censor.policy import load_censor_policy
from detector.classes import ALL_CLASSES
from detector.detections import Detections
from detector.picture import Picture

# (height, width) of most clips, and the clock that PyAV's frames are given.
SIZE = (96, 128)
CLOCK = Fraction(1, 90_000)
COLOURS = {BREAST: (230, 20, 200), BUTTOCKS: (20, 200, 230)}


class ColourDetector:
    """Finds the coloured parts in the pixels themselves; misses each look with a chance."""

    name, device, sha256, class_names = "colours", "cpu", "0" * 64, ALL_CLASSES

    def __init__(self, misses: float = 0.0, seed: int = 0, false_alarms: float = 0.0) -> None:
        self.misses, self.false_alarms = misses, false_alarms
        self.looks = 0
        self._rng = np.random.default_rng(seed)
        self._lock = threading.Lock()

    def detect(
        self, images: Any, *, classes: Sequence[str], score_thresh: float | Mapping[str, float], tiles: bool
    ) -> Any:
        with self._lock:
            single = not isinstance(images, list)
            found = [
                self._one(Picture.open(np.asarray(image.load())), classes) for image in ([images] if single else images)
            ]
        return found[0] if single else found

    def _one(self, picture: Picture, classes: Sequence[str]) -> Detections:
        self.looks += 1
        pixels = np.asarray(picture.load())
        records: list[dict[str, Any]] = []
        for label in classes:
            seen = [box for box in boxes_of(pixels, label) if self._rng.random() >= self.misses]
            records += [{"label": label, "score": 0.6, "box": box} for box in seen]
        if self._rng.random() < self.false_alarms:
            x, y = self._rng.uniform(0, 60, 2)
            records.append({"label": BREAST, "score": 0.4, "box": [x, y, x + 20, y + 20]})
        return Detections.from_records(records, picture.image_size, class_names=ALL_CLASSES, model=self.name)


def mask_of(pixels: np.ndarray, label: str) -> np.ndarray:
    """Return (H, W) booleans: the pixels that show the colour of a class, coding losses allowed."""
    if label not in COLOURS:
        return np.zeros(pixels.shape[:2], dtype=bool)
    return np.abs(pixels.astype(int) - COLOURS[label]).max(axis=2) < 60


def boxes_of(pixels: np.ndarray, label: str) -> list[list[int]]:
    """Return the box around what shows the colour of a class, if there is enough of it."""
    rows, columns = np.nonzero(mask_of(pixels, label))
    if len(rows) < 12:
        return []
    return [[int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]]


def frame_of(parts: Sequence[MovingPart], time: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Draw one frame, RGB."""
    ramp = np.add.outer(np.arange(size[0]), np.arange(size[1])) % 90 + 70
    pixels = np.repeat(ramp[:, :, None], 3, axis=2).astype(np.uint8)
    for part in parts:
        box = part.box(time)
        if box is not None:
            x1, y1, x2, y2 = (max(0, round(side)) for side in box)
            pixels[y1:y2, x1:x2] = COLOURS[part.label]
    return pixels


def clip(
    parts: Sequence[MovingPart] = (),
    *,
    container: str = "mp4",
    codec: str = "libx264",
    pts: Sequence[int] | None = None,
    frames: int = 30,
    size: tuple[int, int] = SIZE,
    rotation: int = 0,
    pixel_format: str = "yuv420p",
    sound: str | None = None,
    sound_from: float = 0.0,
    more: Callable[[Any], None] | None = None,
    draw: Callable[[float], np.ndarray] | None = None,
    time_base: Fraction = CLOCK,
) -> bytes:
    """Return a video file; `pts` in 1/90000 s, 30 frames a second unless given; `more` adds to the open container."""
    times = list(pts) if pts is not None else [i * 3000 for i in range(frames)]
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=30, options={"crf": "12"} if codec == "libx264" else {})
        stream.height, stream.width = size
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = time_base
        if codec != "libx264":
            stream.bit_rate = 2_000_000
        if rotation:
            stream.set_display_rotation(rotation)
        audio = out.add_stream(sound, rate=48000, options={"strict": "-2"}) if sound else None
        if more is not None:
            more(out)
        for when in times:
            pixels = draw(when / 90_000) if draw else frame_of(parts, when / 90_000, size)
            picture = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pixel_format)
            picture.pts, picture.time_base, picture.duration = (
                round(when * CLOCK / time_base),
                time_base,
                round(3000 * CLOCK / time_base),
            )
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
        if audio is not None:
            tone(out, audio, times[-1] / 90_000, sound_from)
    return file.getvalue()


def tone(out: Any, stream: Any, seconds: float, start: float = 0.0) -> None:
    """Write a tone of some seconds; what begins before 0 is cut off by an edit list."""
    count = int(48_000 * max(seconds, 0.2)) // 1024
    for i in range(count):
        wave = np.sin(np.arange(i * 1024, (i + 1) * 1024) / 20)[None].astype(np.float32)
        sound = av.AudioFrame.from_ndarray(np.repeat(wave, 2, axis=0) * 0.3, format="fltp", layout="stereo")
        sound.sample_rate, sound.pts, sound.time_base = 48_000, i * 1024 + round(start * 48_000), Fraction(1, 48_000)
        out.mux(stream.encode(sound))
    out.mux(stream.encode())


def read_frames(data: bytes | Path) -> tuple[list[Fraction], list[np.ndarray]]:
    """Return the times in seconds and the pixels of all frames."""
    with av.open(io.BytesIO(data) if isinstance(data, bytes) else str(data)) as container:
        frames = list(container.decode(video=0))
    return [Fraction(frame.pts * frame.time_base) for frame in frames], [
        frame.to_ndarray(format="rgb24") for frame in frames
    ]


def packets_of(data: bytes | Path, kind: str) -> list[bytes]:
    """Return the payloads of all packets of the first stream of a kind."""
    with av.open(io.BytesIO(data) if isinstance(data, bytes) else str(data)) as container:
        stream = next(item for item in container.streams if item.type == kind)
        return [bytes(packet) for packet in container.demux(stream) if packet.size]


def video_pipeline(detector: Any = None, *, opinion: Any = None, verify: bool = True, **changes: Any) -> Pipeline:
    """Return a pipeline with the detector of colours; boxes unless another style is given."""
    rules = load_censor_policy("default", **{"style": "box", **changes})
    return Pipeline(model=detector or ColourDetector(), opinion=opinion, policy=rules, verify=verify)
