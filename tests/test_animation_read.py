"""Reading animations: frames as other people's decoders composite them, times, plays, and files that are none."""

import io
import struct
import zlib
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from PIL import Image

from censor.animation.gif_read import gif_structure
from censor.animation.opening import open_source
from censor.animation.plan import whole_ticks
from censor.animation.png_read import PNG_SIGNATURE, png_chunk, png_chunks
from censor.animation.sequence import Animation
from detector.errors import InputError, LimitError
from detector.limits import Limits
from detector.picture import Picture
from tests.animation_samples import SIZE, TIMES, animated, by_ffmpeg, by_opencv, by_pillow, drawn


def opened(data: bytes, **options: Any) -> Animation:
    animation = open_source(data, **options)
    assert isinstance(animation, Animation)
    return animation


def ours(data: bytes) -> list[np.ndarray]:
    return [np.asarray(frame.convert("RGBA")) for frame in opened(data).frames()]


def gif(*frames: bytes, size: tuple[int, int] = (8, 6), loop: int | None = 0, end: bytes = b";") -> bytes:
    """Return a GIF with a global palette of black, red, green, blue."""
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x81, 0, 0) + bytes([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    loops = b"" if loop is None else b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", loop, 0)
    return head + loops + b"".join(frames) + end


def gif_frame(
    pixels: list[list[int]],
    at: tuple[int, int] = (0, 0),
    *,
    time: int = 10,
    disposal: int = 1,
    clear: int | None = None,
    palette: bytes = b"",
) -> bytes:
    image = Image.fromarray(np.array(pixels, np.uint8), "L")
    image.putpalette(bytes(range(256)) * 3)
    buffer = io.BytesIO()
    image.save(buffer, "GIF", interlace=0, optimize=False)
    (frame,) = gif_structure(buffer.getvalue(), "x", Limits()).frames
    start, end = frame.coded
    flags = disposal << 2 | (clear is not None)
    control = struct.pack("<3sBHBB", b"\x21\xf9\x04", flags, time, clear or 0, 0)
    own = 0x80 | (len(palette) // 3).bit_length() - 2 if palette else 0
    place = struct.pack("<B4HB", 0x2C, *at, image.width, image.height, own)
    return control + place + palette + buffer.getvalue()[start:end]


def grid(value: int, width: int = 8, height: int = 6) -> list[list[int]]:
    return [[value] * width for _ in range(height)]


RED, GREEN, BLUE, NONE = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (0, 0, 0, 0)


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "transparent"])
@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_frames_are_those_of_other_decoders(kind: str, alpha: bool) -> None:
    data = animated(kind, drawn(alpha=alpha))
    animation = opened(data)
    assert (animation.format, animation.image_size, animation.count) == (kind, SIZE[::-1], len(TIMES))
    assert animation.plays == {"GIF": 4, "AVIF": 0}.get(kind, 3)
    frames = ours(data)
    for mine, theirs in zip(frames, by_pillow(data), strict=True):
        theirs[theirs[..., 3] == 0] = 0
        assert (mine == theirs).all()
    for mine, colours in zip(frames, by_opencv(data), strict=True):
        solid = mine[..., 3] == 255
        assert np.abs(mine[solid][:, :3].astype(int) - colours[solid]).max() <= (12 if kind == "AVIF" else 0)


@pytest.mark.parametrize(
    ("disposal", "blend"), [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)], ids=lambda value: str(value)
)
def test_an_apngs_disposal_and_blending_are_those_of_others(disposal: int, blend: int) -> None:
    """Pillow does not restore what was before the first frame; FFmpeg and the specification do."""
    ground = Image.new("RGBA", (20, 16), (10, 200, 60, 255))
    spots = [ground]
    for i in range(4):
        spot = ground.copy() if blend == 0 else Image.new("RGBA", (20, 16), (0, 0, 0, 0))
        spot.paste((200, 30 * i, 90, 128 if blend == 0 else 255), (3 * i, 2 * i, 3 * i + 6, 2 * i + 5))
        spots.append(spot)
    data = animated("PNG", spots, duration=40, disposal=disposal, blend=blend)
    for decode in [by_ffmpeg, *([] if (disposal, blend) == (2, 1) else [by_pillow])]:
        for mine, theirs in zip(ours(data), decode(data), strict=True):
            theirs[theirs[..., 3] == 0] = 0
            assert np.abs(mine.astype(int) - theirs).max() <= 1


def test_half_transparent_over_opaque_is_opaque() -> None:
    """Pillow makes 191 of 128 over 255; PNG's rule, that of Porter and Duff, makes 255."""
    spots = [Image.new("RGBA", (8, 8), (10, 200, 60, 255)), Image.new("RGBA", (8, 8), (200, 0, 90, 128))]
    _, second = ours(animated("PNG", spots, duration=40, blend=1))
    assert np.abs(second.astype(int) - (105, 100, 75, 255)).max() <= 1


def test_gif_frames_with_offsets_own_palettes_and_every_disposal() -> None:
    own = bytes([9, 9, 9, 250, 250, 0])
    data = gif(
        gif_frame(grid(1), time=0),
        gif_frame(grid(2, 3, 2), (1, 1), disposal=2),
        gif_frame(grid(3, 2, 2), (6, 4), disposal=3),
        gif_frame([[1, 0]], (0, 0), palette=own, clear=0),
        gif_frame(grid(3, 6, 6), (5, 3)),
        loop=4,
    )
    animation = opened(data)
    assert animation.durations == (0, *[Fraction(1, 10)] * 4)
    assert animation.plays == 5
    frames = ours(data)
    assert (frames[0] == RED).all()
    assert (frames[1][1:3, 1:4] == GREEN).all()
    assert (frames[1] == GREEN).all(axis=2).sum() == 6
    assert (frames[2][1:3, 1:4] == NONE).all()  # disposed to the background: browsers show what is behind the picture
    assert (frames[2][4:6, 6:8] == BLUE).all()
    assert (frames[3][4:6, 6:8] == RED).all()  # what was before is restored
    assert tuple(frames[3][0, 0]) == (250, 250, 0, 255)
    assert (frames[3][0, 1:] == RED).all()  # the transparent entry of its own palette
    assert (frames[4][3:, 5:] == BLUE).all()  # a frame that reaches over the screen is cut off
    assert frames[4].shape == (6, 8, 4)


@pytest.mark.parametrize(("loop", "plays"), [(None, 1), (0, 0), (1, 2), (65535, 65536)])
def test_a_gifs_repetitions(loop: int | None, plays: int) -> None:
    assert opened(gif(gif_frame(grid(1)), gif_frame(grid(2)), loop=loop)).plays == plays


def test_a_gif_of_one_frame_is_a_picture_and_an_unfinished_one_is_none() -> None:
    assert isinstance(open_source(gif(gif_frame(grid(1)))), Picture)
    whole = gif(gif_frame(grid(1)), gif_frame(grid(2)))
    for broken in (whole[:-1], whole[:-3], whole[:-12]):
        with pytest.raises(InputError, match="truncated"):
            open_source(broken)
    small = gif_frame(grid(2, 2, 2))
    short = small[:13] + struct.pack("<HH", 8, 6) + small[17:]  # its blocks end before its pixels do
    animation = opened(gif(gif_frame(grid(1)), short))
    with pytest.raises(InputError, match="must decode without errors"):
        list(animation.frames())


def rebuilt(data: bytes, change: Any) -> bytes:
    """Return an APNG whose chunks went through `change`, which gives the chunks to write for each."""
    chunks = [(kind, data[start:end]) for kind, start, end in png_chunks(data, "x")]
    return PNG_SIGNATURE + b"".join(png_chunk(*part) for kind, body in chunks for part in change(kind, body))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda kind, body: [] if kind == b"fdAT" and body[:4] == b"\0\0\0\2" else [(kind, body)], "in order"),
        (lambda kind, body: [(kind, struct.pack(">II", 9, 0) if kind == b"acTL" else body)], "the 9 frames"),
        (lambda kind, body: [(kind, body)] * (1 + (kind == b"acTL")), "announce its frames once"),
        (
            lambda kind, body: [(kind, body[:4] + struct.pack(">I", 99) + body[8:] if kind == b"fcTL" else body)],
            "inside the picture",
        ),
        (lambda kind, body: [] if kind == b"acTL" else [(kind, body)], "one frame"),
    ],
)
def test_an_apng_that_contradicts_itself_is_refused(change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(rebuilt(animated("PNG"), change))


def test_a_wrong_checksum_in_a_frame_is_refused() -> None:
    data = bytearray(animated("PNG"))
    data[data.rindex(b"fdAT") + 6] ^= 1
    with pytest.raises(InputError, match="fdAT's is not"):
        open_source(bytes(data))


def test_apng_times_are_fractions_and_a_denominator_of_zero_is_a_hundred() -> None:
    def change(kind: bytes, body: bytes) -> list[tuple[bytes, bytes]]:
        return [(kind, body[:20] + struct.pack(">HH", 7, 0) + body[24:] if kind == b"fcTL" else body)]

    assert set(opened(rebuilt(animated("PNG"), change)).durations) == {Fraction(7, 100)}


def test_a_palette_apng_keeps_its_colours() -> None:
    frames = [frame.quantize(16) for frame in drawn(3)]
    data = animated("PNG", frames)
    for mine, theirs in zip(ours(data), by_pillow(data), strict=True):
        assert (mine == theirs).all()


def test_a_webp_that_ends_early_or_lacks_a_frame_is_refused() -> None:
    data = animated("WEBP")
    with pytest.raises(InputError, match="as long as it says"):
        open_source(data[:-20])
    at = data.rindex(b"ANMF")
    cut = data[:4] + struct.pack("<I", at - 8 + 12) + data[8 : at + 12]
    with pytest.raises(InputError):
        open_source(cut)


def test_stills_with_the_marks_of_animations_stay_pictures() -> None:
    still = io.BytesIO()
    drawn(1)[0].save(still, "PNG")
    data = still.getvalue()
    text = b"tEXt" + b"x\0acTL"
    chunk = struct.pack(">I", 6) + text + struct.pack(">I", zlib.crc32(text))
    assert isinstance(open_source(data[:33] + chunk + data[33:]), Picture)
    picture = Picture.open(data)
    assert open_source(picture) is picture


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_limits_count_frames_and_all_their_pixels(kind: str) -> None:
    data = animated(kind)
    total = SIZE[0] * SIZE[1] * len(TIMES)
    with pytest.raises(LimitError, match="at most 7 frames"):
        open_source(data, limits=Limits(max_frames=7))
    with pytest.raises(LimitError, match="pixels together"):
        open_source(data, limits=Limits(max_total_pixels=total - 1))
    with pytest.raises(LimitError, match="pixels"):
        open_source(data, limits=Limits(max_pixels=SIZE[0] * SIZE[1] - 1))
    assert opened(data, limits=Limits(max_total_pixels=total, max_frames=8)).count == 8


def test_whole_ticks_lose_no_time() -> None:
    assert whole_ticks((Fraction(1, 30),) * 6, 100) == [3, 4, 3, 3, 4, 3]
    assert sum(whole_ticks((Fraction(1, 60),) * 600, 100)) == 1000
    assert whole_ticks((), 100) == []


def test_an_orientation_is_applied_to_every_frame() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = drawn(3)
    data = animated("WEBP", frames, exif=exif)
    animation = opened(data)
    assert animation.image_size == SIZE
    for frame, source in zip(animation.frames(), frames, strict=True):
        assert (np.asarray(frame.convert("RGB")) == np.asarray(source.transpose(Image.Transpose.ROTATE_270))).all()


def test_a_video_that_comes_as_bytes_is_asked_for_as_a_file() -> None:
    with pytest.raises(InputError, match="-: a video must be named as a file"):
        open_source(io.BytesIO(b"\0\0\0\x20ftypisom" + bytes(40)), name="-")
    with pytest.raises(InputError, match="a picture must be JPEG"):
        open_source(io.BytesIO(b"words" * 20), name="-")
