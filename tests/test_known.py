"""PDQ hashes, the known list, and what near copies of known pictures become."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_pipeline import BOX, FOUND, FakeDetector, pixels_of

from censor.pipeline import Pipeline
from censor.policy import CensorPolicy, load_censor_policy
from detector.errors import InputError, PolicyError, UsageError
from detector.known import KnownEntry, KnownList, entries_of
from detector.pdq import Pdq, distances, pack_hashes, pdq_of
from detector.picture import Picture
from detector.policy import VerdictRules

# What the package pdqhash 0.2.8 gives for `drawn(seed, size)`, sizes as (height, width).
REFERENCE = [
    (1, (200, 300), "b99c4ee6e666b9499b8d54e1cc4693a0b91bc4c67c96a9da874f5b294ac5a454", 100),
    (2, (64, 64), "7c66393968e611f878c7ff03e3836e47113befc6cb0360ef087c00f80e5cb703", 57),
    (3, (255, 511), "b33c5d47db240b2c9752bee0749baa666fa0f124a29b0496b2dafc92f9645319", 100),
    (4, (97, 130), "f296a79ce534d354569c6da4aa4c6d55964969a68f5868d796492936aad252ab", 100),
    (5, (40, 100), "39638d6bb5c2e18fc70fb6d2638f638d32d21e704d2d30d29c700c713873c79e", 78),
]


def drawn(seed: int, size: tuple[int, int] = (200, 300)) -> np.ndarray:
    """Draw rectangles: edges and plains, the same on every machine."""
    generator = np.random.default_rng(seed)
    image = np.full((*size, 3), 128, np.uint8)
    for _ in range(24):
        y, x = generator.integers(0, size[0]), generator.integers(0, size[1])
        h, w = generator.integers(10, 90, 2)
        image[y : y + h, x : x + w] = generator.integers(0, 256, 3)
    return image


def saved(image: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def entry(image: np.ndarray, decision: str, *boxes: tuple[float, float, float, float]) -> KnownEntry:
    return KnownEntry(pdq_of(image), decision, tuple(("BUTTOCKS_EXPOSED", box) for box in boxes))


def rules(known: str, **changes: Any) -> CensorPolicy:
    base = load_censor_policy("default", second_opinion=False, style="box", grow=0.0, **changes)
    return replace(base, policy=replace(base.policy, verdict=replace(base.policy.verdict, known=known)))


def run(fake: FakeDetector, known: list[KnownEntry], mode: str, data: bytes, **changes: Any) -> Any:
    pipeline = Pipeline(model=fake, opinion=None, policy=rules(mode, **changes), known=KnownList(known))
    return pipeline.run(Picture.open(data), "out", None)


@pytest.mark.parametrize(("seed", "size", "hash", "quality"), REFERENCE)
def test_hashes_are_those_of_the_reference(seed: int, size: tuple[int, int], hash: str, quality: int) -> None:
    assert pdq_of(drawn(seed, size)) == Pdq(hash, quality)


def test_near_copies_are_near_and_other_pictures_far() -> None:
    image = drawn(1, (600, 900))
    small = np.asarray(Image.fromarray(image).resize((333, 222), Image.Resampling.BICUBIC))
    coarse = np.asarray(Image.open(io.BytesIO(saved(image, "JPEG", quality=20))))
    hashes = pack_hashes([pdq_of(other).hash for other in (image, small, coarse, drawn(2), image[:, ::-1])])
    far = distances(hashes, pdq_of(image).hash)
    assert far[0] == 0
    assert (far[1:3] <= 20).all()
    assert (far[3:] > 60).all()


def test_distances_do_not_need_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = pack_hashes(["0" * 64, "f" * 64, "0" * 63 + "7"])
    assert distances(hashes, "0" * 64).tolist() == [0, 256, 3]
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert distances(hashes, "0" * 64).tolist() == [0, 256, 3]


def test_a_plain_wall_has_no_quality_and_tiny_pictures_have_a_hash() -> None:
    assert pdq_of(np.full((50, 50, 3), 90, np.uint8)).quality == 0
    assert len(pdq_of(np.zeros((1, 1, 3), np.uint8)).hash) == 64


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(UsageError, match="an image must be uint8"):
        pdq_of(image)


def test_every_report_has_the_hash(tmp_path: Path) -> None:
    data = saved(drawn(3))
    report = run(FakeDetector([]), [], "note", data).report
    assert report.to_dict()["pdq"] == pdq_of(drawn(3)).to_dict()
    assert report.to_dict()["known"] is None
    pipeline = Pipeline(model=FakeDetector(FOUND), opinion=None, policy=rules("note"))
    preview = pipeline.preview(Picture.open(data), "o", None).report
    assert preview.pdq == report.pdq  # of the picture, not of the boxes drawn on it


@pytest.mark.parametrize("mode", ["note", "trust"])
def test_a_known_nsfw_picture_is_nsfw_and_its_boxes_are_hidden(mode: str) -> None:
    image = drawn(4)
    copy = saved(image, "JPEG", quality=60)
    fake = FakeDetector([])
    outcome = run(fake, [entry(image, "nsfw", (0.1, 0.2, 0.3, 0.5))], mode, copy)
    assert outcome.report.verdict.verdict == "nsfw"
    assert (pixels_of(outcome.data)[42:98, 32:88] < 40).all()
    assert "a person said nsfw of a near copy (line 1 of the known list" in outcome.report.verdict.reasons[-1]
    said = outcome.report.to_dict()
    assert said["known"]["looked"] is (mode == "note")
    assert said["boxes"] == [
        {"label": "BUTTOCKS_EXPOSED", "score": 1.0, "box": [30.0, 40.0, 90.0, 100.0], "hide": True, "by": "known"}
    ]
    assert said["model"]["name"] == ("fake" if mode == "note" else "person")
    # Trusted, only the output is looked at: the copy may be cropped, and its boxes lie off.
    assert len(fake.seen) == (2 if mode == "note" else 1)


@pytest.mark.parametrize("mode", ["note", "trust"])
def test_known_nsfw_without_boxes_is_looked_at(mode: str) -> None:
    image = drawn(4)
    fake = FakeDetector([])
    outcome = run(fake, [entry(image, "nsfw")], mode, saved(image))
    assert fake.seen
    assert outcome.report.verdict.verdict == "nsfw"
    assert outcome.report.exit_code == 3
    covered = run(FakeDetector([]), [entry(image, "nsfw")], mode, saved(image), fallback="whole")
    assert (pixels_of(covered.data) == 0).all()


def test_a_known_safe_picture_never_uncovers_unless_the_policy_trusts() -> None:
    image = drawn(5)
    known = [entry(image, "safe")]
    fake = FakeDetector(FOUND, [])
    outcome = run(fake, known, "note", saved(image))
    assert outcome.report.verdict.verdict == "nsfw"
    assert (pixels_of(outcome.data)[12:40, 10:30] == 0).all()
    assert outcome.report.verdict.reasons[-1].endswith("looked at all the same")

    fake = FakeDetector(FOUND)
    outcome = run(fake, known, "trust", saved(image))
    assert outcome.report.verdict.verdict == "safe"
    assert not fake.seen
    assert not outcome.report.verified
    assert (pixels_of(outcome.data) == image).all()
    assert outcome.report.verdict.reasons[-1].endswith("not looked at again")


def test_something_pasted_in_leaves_a_near_copy_which_is_looked_at() -> None:
    image = drawn(3, (400, 600))
    pasted = image.copy()
    pasted[20:100, 20:70] = drawn(9, (80, 50))  # as high as a fifth of the picture
    match = KnownList([entry(image, "safe")]).find(pdq_of(pasted))
    assert match is not None, "no distance protects: whoever trusts the list must trust who brings the pictures"
    outcome = run(FakeDetector(FOUND, []), [entry(image, "safe")], "note", saved(pasted))
    assert outcome.report.verdict.verdict == "nsfw"


def test_nsfw_wins_over_a_nearer_safe_decision() -> None:
    image = drawn(6)
    other = Pdq(f"{int(pdq_of(image).hash, 16) ^ 0b1111:064x}", 100)
    match = KnownList([entry(image, "safe"), KnownEntry(other, "nsfw")]).find(pdq_of(image))
    assert match is not None
    assert (match.entry.decision, match.distance, match.line) == ("nsfw", 4, 2)


@pytest.mark.parametrize("mode", ["note", "trust"])
def test_a_picture_that_was_added_twice_has_the_boxes_of_both(mode: str) -> None:
    image = drawn(7)
    left, right = (0.0, 0.0, 0.25, 1.0), (0.75, 0.0, 1.0, 1.0)
    far = KnownEntry(Pdq(f"{int(pdq_of(image).hash, 16) ^ 1:064x}", 100), "nsfw", (("BELLY_EXPOSED", (0, 0, 1, 1)),))
    known = [entry(image, "nsfw"), far, entry(image, "nsfw", left), entry(image, "nsfw", left, right)]
    outcome = run(FakeDetector([]), known, mode, saved(image))
    boxes = [box["box"] for box in outcome.report.boxes]
    assert boxes == [[0.0, 0.0, 75.0, 200.0], [225.0, 0.0, 300.0, 200.0]]
    pixels = pixels_of(outcome.data)
    assert (pixels[:, :75] == 0).all()
    assert (pixels[:, 225:] == 0).all()
    assert (pixels[:, 75:225] == image[:, 75:225]).all()


@pytest.mark.parametrize(("bits", "found"), [(31, True), (32, False)])
def test_a_match_differs_in_at_most_31_bits(bits: int, found: bool) -> None:
    pdq = Pdq("0" * 64, 100)
    known = KnownList([KnownEntry(Pdq(f"{(1 << bits) - 1:064x}", 100), "nsfw")])
    assert (known.find(pdq) is not None) is found


def test_hashes_of_low_quality_match_nothing() -> None:
    low, high = Pdq("0" * 64, 49), Pdq("0" * 64, 50)
    assert KnownList([KnownEntry(low, "nsfw")]).find(high) is None
    assert KnownList([KnownEntry(low, "nsfw")]).ignored == 1
    assert KnownList([KnownEntry(high, "nsfw")]).find(low) is None
    assert KnownList([KnownEntry(high, "nsfw")]).find(high) is not None
    assert KnownList([]).find(high) is None


def test_a_list_is_written_and_read_again(tmp_path: Path) -> None:
    image, path = drawn(7), tmp_path / "known.jsonl"
    data = saved(image)
    report = run(FakeDetector(FOUND, []), [], "note", data).report
    entries = entries_of([json.loads(report.to_json())], "nsfw")
    assert entries[0].boxes == (("BUTTOCKS_EXPOSED", (BOX[0] / 300, BOX[1] / 200, BOX[2] / 300, BOX[3] / 200)),)
    path.write_text("\n".join(["", *(one.to_json() for one in entries), ""]))
    match = KnownList.read(path).find(pdq_of(image))
    assert match is not None
    assert (match.line, match.distance, match.entry.decision) == (2, 0, "nsfw")
    assert match.entry.boxes[0][1] == pytest.approx(entries[0].boxes[0][1], abs=1e-6)
    assert entries_of([json.loads(report.to_json())], "safe")[0].boxes == ()
    with pytest.raises(UsageError, match="a report must hold `pdq`"):
        entries_of([{"source": "x"}], "safe")


GOOD = {"schema": "retina-censor-known/1", "pdq": "0" * 64, "quality": 90, "decision": "nsfw", "boxes": []}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "x"}, "schema"),
        ({"pdq": "0" * 63}, "64 hexadecimal digits"),
        ({"pdq": "g" * 64}, "64 hexadecimal digits"),
        ({"quality": 101}, "from 0 to 100"),
        ({"quality": True}, "from 0 to 100"),
        ({"decision": "fine"}, "one of safe, nsfw"),
        ({"verdict": "nsfw"}, "keys must be among"),
        ({"boxes": [{"label": "BUTTOCKS_EXPOSED"}]}, "boxes must be objects"),
        ({"boxes": [{"label": "BUTTOCKS", "box": [0, 0, 2, 1]}]}, "as shares|nearest"),
        ({"boxes": [{"label": "BUTTOCKS_EXPOSED", "box": [0.5, 0, 0.5, 1]}]}, "as shares"),
        ({"boxes": [{"label": "BUTTOCKS_EXPOSED", "box": [0, 0, float("nan"), 1]}]}, "boxes must be objects"),
        ({"boxes": [{"label": "BUTTOCKS_EXPOSED", "box": [0, 0, 10**400, 1]}]}, "boxes must be objects"),
        ({"decision": "safe", "boxes": [{"label": "BUTTOCKS_EXPOSED", "box": [0, 0, 1, 1]}]}, "no boxes"),
    ],
)
def test_a_line_that_is_not_understood_is_an_error(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "known.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps({**GOOD, **change}) + "\n")
    with pytest.raises(InputError, match=f"line 2, must be a decision as JSON.*{message}"):
        KnownList.read(path)


def test_what_is_no_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        KnownList.read(tmp_path / "missing.jsonl")
    (tmp_path / "a.jsonl").write_text("[1, 2\n")
    with pytest.raises(InputError, match="line 1"):
        KnownList.read(tmp_path / "a.jsonl")


def test_the_policy_must_say_note_or_trust() -> None:
    assert VerdictRules().known == "note"
    with pytest.raises(PolicyError, match="known must be one of note, trust"):
        VerdictRules(known="yes")
