"""Which vertices belong to a part, from counts of boxes that are known."""

import numpy as np
import pytest

pytest.importorskip("embreex")
pytest.importorskip("onnxruntime")

from detector.detections import Detections
from detector.synth import calibrate
from detector.synth.body import BodyModel

pytestmark = pytest.mark.slow


class Upper:
    """Finds a belly in the upper half of every picture."""

    def detect(self, image, **_):
        height, width = image.shape[:2]
        return Detections(
            boxes=np.float32([[0, 0, width, height / 2]]),
            scores=np.float32([0.9]),
            labels=np.int64([0]),
            image_size=(height, width),
        )


def test_counts_are_of_seen_vertices_inside_boxes():
    plains = list(calibrate.plain_pictures(2, 5))
    assert [plain.male for plain in plains] == [False, True]
    counts = calibrate.count_boxes(iter(plains), Upper())
    seen, inside = counts.seen["BELLY_EXPOSED"], counts.inside["BELLY_EXPOSED"]
    assert counts.pictures["BELLY_EXPOSED"] == 2
    assert counts.pictures["FEMALE_BREAST_EXPOSED"] == counts.pictures["MALE_GENITALIA_EXPOSED"] == 1
    assert (inside <= seen).all()
    assert seen.max() <= 2
    assert 0 < inside.sum() < seen.sum()
    assert counts.inside["BUTTOCKS_EXPOSED"].sum() == 0


def test_regions_are_the_vertices_above_the_fraction_on_both_sides():
    model = BodyModel.load()
    place = np.zeros((len(model.regions["body"]), 3))
    place[model.source] = model.rest
    torso = model.regions["torso"]
    # The left half of the torso above 1.2 m always, below it four times in ten; the right half was never seen.
    seen = np.where(torso & (place[:, 0] > 0), 10, 0)
    inside = np.where(seen > 0, np.where(place[:, 2] > 1.2, 10, 4), 0)
    counts = calibrate.Counts(
        seen=dict.fromkeys(calibrate.FRACTIONS, seen),
        inside=dict.fromkeys(calibrate.FRACTIONS, inside),
        pictures=dict.fromkeys(calibrate.FRACTIONS, 10),
    )
    high = calibrate.choose_regions(counts, dict.fromkeys(calibrate.FRACTIONS, 0.5))
    assert place[high["belly"], 2].min() > 1.2 - 0.03
    assert (high["belly"] & (place[:, 0] < -0.05)).any(), "what one side learns holds for the other"
    low = calibrate.choose_regions(counts, dict.fromkeys(calibrate.FRACTIONS, 0.3))
    assert low["belly"].sum() > high["belly"].sum()
    assert not (high["breast_left"] & high["breast_right"]).any()
    assert high["male_genitalia"][model.regions["male_anatomy"]].all()
    assert not high["female_genitalia"][model.regions["male_anatomy"]].any()
