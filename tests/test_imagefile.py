"""Pixels come back from every format, nothing but pixels decides the bytes, and a JPEG follows its source."""

import importlib.util
import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageCms

from censor import imagefile, jpegencode
from censor.imagefile import EXTENSIONS, encode, format_for
from censor.jpegencode import JpegCoding, encode_jpeg
from detector.errors import OutputError, UsageError
from detector.icc import rebuild_profile
from detector.picture import Picture

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")
NO_ALPHA = ("JPEG", "BMP")


def drawing(width: int = 61, height: int = 43, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Smooth parts, an edge and noise; with a mode of alpha also clear, half clear and opaque parts."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    planes = [128 + 90 * np.sin(x / (9 + c)) * np.cos(y / (11 + c)) for c in range(3)]
    array = np.stack(planes, axis=2) + rng.normal(0, 4, (height, width, 3))
    array[height // 3 : height // 2, width // 4 : width // 2] = (250, 20, 60)
    colours = np.clip(array, 0, 255).astype(np.uint8)
    if mode != "RGBA":
        return Image.fromarray(colours).convert(mode)
    alpha = np.select([x < width // 3, x < width // 2], [0, 100], 255).astype(np.uint8)
    colours[alpha == 0] = 0
    return Image.fromarray(np.dstack([colours, alpha]))


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def from_array(mode: str = "RGB") -> Picture:
    """A source that says nothing about how to write it."""
    return Picture.open(np.asarray(drawing(mode=mode)))


def reopened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def error_of(data: bytes, image: Image.Image) -> float:
    """Mean absolute difference between a file's pixels and a picture, alpha included, whatever is under alpha 0."""
    back, wanted = (np.asarray(picture, float) for picture in (reopened(data).convert(image.mode), image))
    shown = (wanted[..., 3:] > 0) | [False, False, False, True] if image.mode == "RGBA" else True
    return float(np.abs((back - wanted) * shown).mean())


def jpeg_facts(data: bytes) -> tuple[list[list[int]], list[tuple[int, int]], bool]:
    """(table of each component, sampling factors of each, progressive)."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        tables = [list(image.quantization[layer[3]]) for layer in image.layer]
        return tables, [layer[1:3] for layer in image.layer], bool(image.info.get("progressive"))


@pytest.mark.parametrize(
    ("name", "format"),
    [
        *[("a.JPG", "JPEG"), ("b/c.jpeg", "JPEG"), ("a.png", "PNG"), ("a.b.WebP", "WEBP"), ("a.tif", "TIFF")],
        *[("-", None), ("noname", None), ("folder.d/noname", None), ("a.heic", "HEIF")],
    ],
)
def test_the_suffix_chooses_the_format(name: str, format: str | None) -> None:
    assert format_for(name) == format


@pytest.mark.parametrize("name", ["a.jpgg", "a.txt", "a.jpg.bak", "a.jpg~"])
def test_an_unknown_suffix_is_an_error_that_names_those_known(name: str) -> None:
    with pytest.raises(UsageError, match=r"\.jpg, .*\.webp") as caught:
        format_for(name)
    assert repr(name) in str(caught.value)


def test_every_suffix_has_a_writer() -> None:
    assert set(EXTENSIONS.values()) == {*FORMATS, "HEIF"}


@pytest.mark.parametrize(
    ("format", "mode", "size"),
    [
        (format, mode, size)
        for format, mode, size in itertools.product(("PNG", "TIFF", "BMP"), ("L", "RGB", "RGBA"), ((1, 1), (61, 43)))
        if not (mode == "RGBA" and format == "BMP")
    ],
)
def test_lossless_formats_give_the_pixels_back(format: str, mode: str, size: tuple[int, int]) -> None:
    image = drawing(*size, mode=mode)
    back = reopened(encode(image, from_array(mode), format))
    assert (back.format, back.mode) == (format, mode)
    assert np.array_equal(np.asarray(back), np.asarray(image))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_give_nearly_the_pixels_back(format: str, mode: str) -> None:
    image = drawing(mode=mode)
    data = encode(image, from_array(mode), format)
    assert reopened(data).size == image.size
    if mode == "RGBA" and format in NO_ALPHA:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    elif mode == "RGBA":
        assert np.array_equal(np.asarray(reopened(data).getchannel("A")), np.asarray(image.getchannel("A")))
    assert 0 < error_of(data, image) < 6


def test_jpeg_of_grey_is_grey() -> None:
    assert reopened(encode(drawing(mode="L"), from_array("L"), "JPEG")).mode == "L"


@pytest.mark.parametrize("lossless", [False, True])
def test_webp_is_lossless_when_its_source_is(lossless: bool) -> None:
    image = drawing(mode="RGBA")
    picture = Picture.open(saved(image, "WEBP", lossless=lossless))
    assert (error_of(encode(image, picture), image) == 0) == lossless


@pytest.mark.parametrize("format", NO_ALPHA)
def test_clear_parts_become_white_where_there_is_no_alpha(format: str) -> None:
    image = drawing(mode="RGBA")
    picture = Picture.open(np.zeros((8, 8, 4), np.uint8))
    back = reopened(encode(image, picture, format)).convert("RGB")
    assert np.asarray(back)[:, :8].min() > 250
    wanted = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    assert np.abs(np.asarray(back, float) - np.asarray(wanted, float)).mean() < (3 if format == "JPEG" else 0.01)


@pytest.mark.parametrize("colours", [1, 2, 255, 256])
def test_gif_keeps_up_to_256_colours_exactly(colours: int) -> None:
    rng = np.random.default_rng(colours)
    palette = rng.permutation(256).astype(np.uint8)[:colours, None] * np.array([1, 3, 7], np.uint8)
    image = Image.fromarray(palette[np.arange(60 * 40).reshape(60, 40) % colours])
    assert error_of(encode(image, from_array(), "GIF"), image) == 0


def test_gif_has_one_bit_of_alpha() -> None:
    """With more colours than entries, and black both shown and under clear pixels."""
    wanted = np.array(drawing(mode="RGBA"))
    wanted[5:9, 40:60] = [0, 0, 0, 255]
    wanted[20, 40:42, 3] = [127, 128]
    back = np.asarray(reopened(encode(Image.fromarray(wanted), from_array("RGBA"), "GIF")).convert("RGBA"))
    assert np.array_equal(back[..., 3], np.where(wanted[..., 3] < 128, 0, 255))
    shown = wanted[..., 3] >= 128
    assert np.abs(back[shown][:, :3].astype(float) - wanted[shown][:, :3]).mean() < 8


def test_a_cmyk_jpeg_gives_its_first_three_tables() -> None:
    tables = [[value] * 64 for value in (2, 3, 4, 5)]
    picture = Picture.open(saved(drawing(mode="CMYK"), "JPEG", qtables=tables))
    assert jpeg_facts(encode(picture.load(), picture))[0] == tables[:3]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("format", FORMATS)
def test_only_pixels_decide_the_bytes(format: str, mode: str) -> None:
    """`info`, the class of the object, and the fourth byte that Pillow keeps beside RGB must not."""
    image = drawing(mode=mode)
    loud = Image.open(io.BytesIO(saved(image, "PNG")))
    loud.load()
    loud.info.update({"comment": b"RIDES-ALONG", "exif": b"Exif\0\0RIDES-ALONG", "xmp": b"RIDES-ALONG", "dpi": (9, 9)})
    loud.info.update({"icc_profile": b"RIDES-ALONG", "compression": "raw", "transparency": 3, "background": 7})
    others = [loud]
    if mode == "RGB":
        padding = np.random.default_rng(3).integers(0, 256, (*image.size[::-1], 1), dtype=np.uint8)
        others.append(Image.fromarray(np.dstack([np.asarray(image), padding])).convert("RGB"))
    wanted = encode(image, from_array(mode), format)
    assert [encode(other, from_array(mode), format) == wanted for other in others] == [True] * len(others)
    assert b"RIDES-ALONG" not in wanted
    assert loud.info["comment"] == b"RIDES-ALONG"


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [30, 90, 98])
def test_a_jpeg_follows_its_source(quality: int, progressive: bool, subsampling: int) -> None:
    source = saved(drawing(), "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    picture = Picture.open(source)
    data = encode(picture.load(), picture)
    assert jpeg_facts(data) == jpeg_facts(source)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_tables_and_subsampling_turn_with_the_picture(orientation: int, subsampling: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    tables = [[1 + i for i in range(64)], [200 - 3 * i for i in range(64)]]
    source = saved(drawing(), "JPEG", qtables=tables, subsampling=subsampling, exif=exif)
    picture = Picture.open(source)
    found, factors, _ = jpeg_facts(encode(picture.load(), picture))
    swapped = orientation >= 5
    wanted = [np.array(table).reshape(8, 8) for table in (tables[0], tables[1], tables[1])]
    assert found == [(table.T if swapped else table).ravel().tolist() for table in wanted]
    first = {0: (1, 1), 1: (1, 1) if swapped else (2, 1), 2: (2, 2)}[subsampling]
    assert factors == [first, (1, 1), (1, 1)]


def test_a_jpeg_in_grey_that_was_painted_in_colour_has_colour() -> None:
    picture = Picture.open(saved(drawing(mode="L"), "JPEG", quality=80))
    image = drawing()
    assert error_of(encode(image, picture), image) < 8


def test_three_tables_and_rgb_coding_are_followed_as_far_as_they_go() -> None:
    tables = [[2] * 64, [3] * 64, [4] * 64]
    picture = Picture.open(saved(drawing(), "JPEG", qtables=tables))
    assert jpeg_facts(encode(picture.load(), picture))[0] == tables
    picture = Picture.open(saved(drawing(), "JPEG", quality=95, keep_rgb=True))
    data = encode(picture.load(), picture)
    assert jpeg_facts(data)[1] == [(1, 1)] * 3
    assert error_of(data, drawing()) < 3


def test_other_sources_give_jpeg_at_quality_90_and_full_colour() -> None:
    wanted = jpeg_facts(saved(drawing(), "JPEG", quality=90, subsampling=0))
    for picture in (from_array(), Picture.open(saved(drawing(), "PNG"))):
        assert jpeg_facts(encode(drawing(), picture, "JPEG")) == wanted


def test_without_a_format_the_source_chooses_and_an_array_becomes_png() -> None:
    for format in FORMATS:
        assert reopened(encode(drawing(), Picture.open(saved(drawing(), format)))).format == format
    assert reopened(encode(drawing(), from_array())).format == "PNG"


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("height", [1, 127, 128, 256, 391, 600])
def test_strips_are_what_one_encoder_writes(
    mode: str, subsampling: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jpegencode, "STRIPS_FROM_PIXELS", 1)
    monkeypatch.setattr(jpegencode, "_STRIP_PIXELS", 1)
    image = drawing(75, height, mode)
    wanted = saved(image, "JPEG", quality=90, subsampling=subsampling, restart_marker_rows=1)
    coding = JpegCoding(quality=90, subsampling=subsampling)
    for threads in (1, 2, 5):
        assert encode_jpeg(image, coding, icc_profile=None, threads=threads) == wanted
    plain = saved(image, "JPEG", quality=90, subsampling=subsampling)
    assert np.array_equal(np.asarray(reopened(wanted)), np.asarray(reopened(plain)))


def test_large_jpegs_are_cut_in_strips_and_small_or_progressive_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[int] = []
    join = jpegencode._join
    monkeypatch.setattr(jpegencode, "_join", lambda parts, height: joined.append(len(parts)) or join(parts, height))
    large, small = Image.new("RGB", (2000, 1000)), Image.new("RGB", (1999, 1000))
    encode(large, from_array(), "JPEG", threads=2)
    assert joined == [3]  # of 448, 448 and 104 rows: seven times 8 rows of 8 pixels make up to a megapixel
    encode(large, from_array(), "JPEG", threads=1)
    encode(small, from_array(), "JPEG", threads=2)
    encode(large, Picture.open(saved(drawing(), "JPEG", progressive=True)), threads=2)
    assert joined == [3]


def test_noise_that_is_too_much_for_a_progressive_encoder_is_written_all_the_same(
    capfd: pytest.CaptureFixture[str],
) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8))
    coding = JpegCoding(qtables=[[1] * 64], progressive=True)
    assert error_of(encode_jpeg(noise, coding, icc_profile=None, threads=1), noise) < 1
    capfd.readouterr()  # libjpeg says so


def profile(kind: str) -> bytes:
    """A checked profile, far from sRGB."""
    path = {"RGB": "wide", "GRAY": "grey"}[kind]
    return PROFILES[path]


def _matrix_profile() -> bytes:
    """sRGB's profile with red and green swapped: no picture looks the same with it."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for i in range(int.from_bytes(data[128:132], "big")):
        at = 132 + 12 * i
        if data[at : at + 4] in (b"rXYZ", b"gXYZ"):
            data[at : at + 4] = b"gXYZ" if data[at : at + 4] == b"rXYZ" else b"rXYZ"
    rebuilt = rebuild_profile(bytes(data))
    assert rebuilt is not None
    return rebuilt


def _grey_profile() -> bytes:
    """A grey profile of gamma 1."""
    tags = [
        (b"wtpt", b"XYZ " + bytes(4) + bytes.fromhex("0000f6d6 00010000 0000d32d")),
        (b"kTRC", b"curv" + bytes(4) + bytes.fromhex("00000001 0100 0000")),
    ]
    table, blob = len(tags).to_bytes(4, "big"), b""
    for name, body in tags:
        offset = 132 + 12 * len(tags) + len(blob)
        table += name + offset.to_bytes(4, "big") + len(body).to_bytes(4, "big")
        blob += body
    header = bytearray(128)
    header[:4] = (128 + len(table) + len(blob)).to_bytes(4, "big")
    header[8:24] = b"\2\x10\0\0mntrGRAYXYZ "
    header[36:40] = b"acsp"
    header[68:80] = bytes.fromhex("0000f6d6 00010000 0000d32d")
    rebuilt = rebuild_profile(bytes(header) + table + blob)
    assert rebuilt is not None
    return rebuilt


PROFILES = {"wide": _matrix_profile(), "grey": _grey_profile()}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_checked_profile_is_embedded(format: str, mode: str) -> None:
    wanted = profile("GRAY" if mode == "L" else "RGB")
    picture = Picture.open(saved(drawing(mode=mode), "PNG", icc_profile=wanted))
    assert picture.icc_profile == wanted
    assert reopened(encode(drawing(mode=mode), picture, format)).info["icc_profile"] == wanted


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_where_no_profile_fits_the_pixels_become_srgb(mode: str) -> None:
    image = drawing(mode=mode)
    picture = Picture.open(saved(image, "PNG", icc_profile=profile("RGB")))
    srgb = ImageCms.createProfile("sRGB")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile("RGB")))
    wanted = ImageCms.profileToProfile(image.convert("RGB"), source, srgb)
    assert wanted is not None
    assert np.abs(np.asarray(wanted, float) - np.asarray(image.convert("RGB"), float)).mean() > 10
    if mode == "RGBA":
        wanted.putalpha(image.getchannel("A"))
        wanted = Image.alpha_composite(Image.new("RGBA", image.size, "white"), wanted).convert("RGB")
    data = encode(image, picture, "BMP")
    assert error_of(data, wanted) < 0.01
    assert "icc_profile" not in reopened(data).info


def test_colour_painted_on_grey_does_not_keep_the_grey_profile() -> None:
    picture = Picture.open(saved(drawing(mode="L"), "PNG", icc_profile=profile("GRAY")))
    grey = np.full((8, 8, 3), 50, np.uint8)
    back = reopened(encode(Image.fromarray(grey), picture))
    assert "icc_profile" not in back.info
    # 50 of 255 in linear light is 122 in sRGB.
    assert set(np.asarray(back).ravel().tolist()) == {122}


@pytest.mark.parametrize(("format", "side"), [("JPEG", 65501), ("WEBP", 16384), ("AVIF", 65536), ("GIF", 65536)])
def test_a_picture_too_large_for_the_format_is_refused(format: str, side: int) -> None:
    for size in ((side, 1), (1, side)):
        with pytest.raises(OutputError, match=f"at most {side - 1} pixels a side; .* write it as PNG"):
            encode(Image.new("L", size), from_array("L"), format)
    if format in ("JPEG", "WEBP", "GIF"):
        assert reopened(encode(Image.new("L", (side - 1, 1)), from_array("L"), format)).size == (side - 1, 1)


def test_an_unknown_format_or_mode_is_refused() -> None:
    with pytest.raises(UsageError, match=r"JPEG, PNG, .*; got RGB as EPS"):
        encode(drawing(), from_array(), "EPS")
    with pytest.raises(UsageError, match="got CMYK as JPEG"):
        encode(drawing().convert("CMYK"), from_array(), "JPEG")


@pytest.mark.parametrize("failure", [OSError("broken"), SystemError("broken"), KeyError("broken")], ids=repr)
def test_a_failing_encoder_is_our_error(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise failure

    monkeypatch.setattr(imagefile, "_saved", fail)
    with pytest.raises(OutputError, match=r"writable as PNG; its encoder failed .*broken"):
        encode(drawing(), from_array(), "PNG")


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is not None, reason="pillow-heif is installed")
def test_heic_without_its_package_says_what_to_install() -> None:
    with pytest.raises(OutputError, match=r"^writing HEIC needs .*; pip install pillow-heif"):
        encode(drawing(), from_array(), "HEIF")


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is None, reason="needs pillow-heif")
def test_heic_gives_nearly_the_pixels_back() -> None:
    assert error_of(encode(drawing(), from_array(), "HEIF"), drawing()) < 8
