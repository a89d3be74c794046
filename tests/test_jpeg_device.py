# ruff: noqa: E402 — torch may not be there: without it these tests are skipped.
"""JPEGs decoded where the network runs: upright, of the header's size, and only where every decoder shows the same."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the RetinaNet needs the extra [torch]")

from detector.errors import InputError
from detector.jpeg_device import decode_prepared, is_plain_jpeg
from detector.picture import Picture
from detector.preprocess import prepare
from detector.retinanet import build_retinanet
from detector.retinanet_config import ModelConfig, Preprocessing
from detector.retinanet_predictor import RetinaNetPredictor
from detector.weights import save_weights

MANNEQUINS = sorted((Path(__file__).resolve().parent / "data" / "mannequins").glob("*.jpg"))
TABLE = Preprocessing(long_side=128, multiple=64)
# Levels: two decoders and two area filters differ by one or two on average on smooth pictures.
MEAN_LEVELS, WORST_LEVELS = 1.5, 40
CPU = torch.device("cpu")


def jpeg(image: Image.Image, **options: object) -> bytes:
    with io.BytesIO() as file:
        image.save(file, "JPEG", quality=95, **options)
        return file.getvalue()


def smooth(height: int, width: int) -> Image.Image:
    """Draw a picture without symmetry, whose corners all differ."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 9)], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_those_of_pillow(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    pictures = [Picture.open(jpeg(smooth(240, 333), exif=exif)), Picture.open(jpeg(smooth(90, 40).convert("L")))]
    assert all(map(is_plain_jpeg, pictures))
    for picture, ours in zip(pictures, decode_prepared(pictures, TABLE, CPU), strict=True):
        theirs = prepare(picture.views(4096)[0], TABLE)
        assert ours.plan == theirs.plan
        difference = np.abs(ours.pixels.numpy().astype(int) - theirs.pixels)
        assert difference.mean() < MEAN_LEVELS
        assert difference.max() < WORST_LEVELS


def test_what_decoders_may_show_differently_goes_the_usual_way() -> None:
    cmyk = Image.fromarray(np.zeros((8, 8, 4), np.uint8), "CMYK")
    profile = jpeg(smooth(20, 20), icc_profile=b"broken profile" * 20)
    with io.BytesIO() as file:
        smooth(9, 9).save(file, "PNG")
        png = file.getvalue()
    plain = jpeg(smooth(20, 20))
    adobe = plain[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + plain[2:]
    assert is_plain_jpeg(Picture.open(plain))
    assert is_plain_jpeg(Picture.open(jpeg(smooth(20, 20), progressive=True, comment=b"Adobe" * 9)))
    far = plain[:2] + (b"\xff\xfe\xff\xff" + bytes(65533)) * 5 + adobe[2:]
    # Channels named R, G, B, and nothing else that says so.
    named = jpeg(smooth(20, 20), keep_rgb=True)
    start = named.index(b"\xff\xee")
    unsaid = named[:start] + named[start + 16 :]
    assert np.abs(np.asarray(Image.open(io.BytesIO(unsaid)), int) - np.asarray(smooth(20, 20))).mean() < 3
    for data in (jpeg(cmyk), png, adobe, far, named, unsaid, plain + b"\0"):
        assert not is_plain_jpeg(Picture.open(data))
    assert not is_plain_jpeg(Picture.open(np.zeros((4, 4, 3), np.uint8)))
    # A profile that means nothing is passed over by everybody; one that means something is for the usual way.
    assert is_plain_jpeg(Picture.open(profile)) == (Picture.open(profile).icc_profile is None)


def test_broken_files_are_errors() -> None:
    data = jpeg(smooth(200, 200))
    with pytest.raises(InputError, match="cannot be decoded"):
        decode_prepared([Picture.open(data[: len(data) // 2])], TABLE, CPU)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = build_retinanet(ModelConfig(backbone="resnet18", fpn_channels=32, preprocessing=TABLE)).eval()
    with torch.no_grad():
        logits, _ = model(torch.randn(1, 3, 128, 128))
        model.head.classification_head.cls_logits.weight.div_(logits.std())
        model.head.classification_head.cls_logits.bias.fill_(-1)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(path, model)
    return path


def test_a_predictor_finds_the_same(weights: Path) -> None:
    usual = RetinaNetPredictor.from_file(weights, batch_size=3)
    ours = RetinaNetPredictor.from_file(weights, batch_size=3, jpeg_on_device=True)
    images = [str(MANNEQUINS[0]), np.full((30, 40, 3), 90, np.uint8), str(MANNEQUINS[1]), MANNEQUINS[2].read_bytes()]
    options = {"score_thresh": 0.0, "topk_candidates": 20, "nms_thresh": 1.0}
    found, expected = ours.detect(images, **options), usual.detect(images, **options)
    for one, other in zip(found, expected, strict=True):
        assert one.image_size == other.image_size
        # Random weights: the strongest answer stands for all.
        assert abs(one.scores[0] - other.scores[0]) < 0.1
    assert found[1].scores.tolist() == expected[1].scores.tolist(), "what is no JPEG file goes the usual way"
    with pytest.raises(InputError):
        ours.detect([images[0], images[3][:5000]], **options)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nvjpeg_shows_the_same(weights: Path) -> None:
    pictures = [Picture.open(str(path)) for path in MANNEQUINS]
    for picture, ours in zip(pictures, decode_prepared(pictures, TABLE, torch.device("cuda")), strict=True):
        theirs = prepare(picture.views(4096)[0], TABLE)
        difference = np.abs(ours.pixels.cpu().numpy().astype(int) - theirs.pixels)
        assert difference.mean() < 2 * MEAN_LEVELS
    model = RetinaNetPredictor.from_file(weights, device="cuda", jpeg_on_device=True)
    assert len(model.detect([str(path) for path in MANNEQUINS])) == len(MANNEQUINS)
