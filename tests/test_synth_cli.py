"""`detector synth`, the settings of scenes, people who stand apart, and mannequins for a training run."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("embreex")

from detector.cli import main
from detector.config import from_table
from detector.data.coco import CATEGORIES, find_problems, read_coco
from detector.errors import ModelError, OutputError, PolicyError, UsageError
from detector.picture import Picture
from detector.synth import cli as synth_cli
from detector.synth import writer
from detector.synth.arrangement import sample_group
from detector.synth.make import make_picture, picture_rng
from detector.synth.phenotype import ADULT_AGE
from detector.synth.photographs import PHOTOGRAPHS
from detector.synth.scene import Scene
from detector.synth.settings import SceneSettings, read_settings
from detector.synth.writer import ANNOTATIONS, FORMATS, GENERATION, MANIFEST, WriteOptions, write_set

ROOT = Path(__file__).resolve().parent.parent
SMALL = SceneSettings(image_size=(64, 64))


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["synth", *map(str, arguments)])
    return stop.value.code


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("synth") / "set"
    write_set(out, 6, WriteOptions(seed=3, settings=SMALL))
    return out


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_set_is_sound_and_says_how_it_was_made(made):
    coco, manifest = read_coco(made / ANNOTATIONS), json.loads((made / MANIFEST).read_text())
    assert [problem for problem in find_problems(coco) if problem.broken] == []
    assert coco.categories == list(CATEGORIES)
    assert [image["file_name"] for image in coco.images] == [f"{number:06d}.jpg" for number in range(6)]
    assert all(Picture.open(made / image["file_name"]).image_size == (64, 64) for image in coco.images)
    assert coco.annotations
    assert manifest["seed"] == coco.info["seed"] == 3
    assert manifest["count"] == 6
    assert manifest["settings"]["image_size"] == [64, 64]
    assert set(manifest["libraries"]) == {"embreex", "numpy", "opencv"}
    assert manifest["generation"] == GENERATION
    assert set(manifest["photographs"]) <= {name for names in PHOTOGRAPHS.values() for name in names}
    assert [row["file_name"] for row in manifest["pictures"]] == [image["file_name"] for image in coco.images]
    persons = [person for row in manifest["pictures"] for person in row["persons"]]
    assert persons
    assert all(person["phenotype"]["age"] >= round(ADULT_AGE, 4) for person in persons)


def test_a_picture_can_be_made_again_from_the_manifest(made):
    manifest = json.loads((made / MANIFEST).read_text())
    settings = from_table(SceneSettings, manifest["settings"], "the manifest")
    again = make_picture(manifest["seed"], 4, settings, split=manifest["split"])
    assert {"file_name": "000004.jpg", **json.loads(json.dumps(again.parameters))} == manifest["pictures"][4]
    found = cv2.imread(str(made / "000004.jpg"))[:, :, ::-1]
    assert np.abs(found.astype(int) - again.image).mean() < 6


def test_opencv_of_another_package_does_for_the_manifest(monkeypatch):
    def missing(name):
        if name != "embreex":
            raise PackageNotFoundError(name)
        return "4"

    monkeypatch.setattr(writer, "version", missing)
    assert set(writer._origin()["libraries"]) == {"embreex", "numpy", "opencv"}


def test_annotations_are_written_last(monkeypatch, tmp_path):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "_write_manifest", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_set(tmp_path / "x", 1, WriteOptions(seed=3, settings=SceneSettings(image_size=(32, 32), empty=1.0)))
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["000000.jpg"]


def test_a_damaged_body_is_told_before_a_folder_is_made(monkeypatch, tmp_path):
    def damaged():
        raise ModelError("the regions of the body must be readable")

    monkeypatch.setattr(writer, "read_regions", damaged)
    with pytest.raises(ModelError):
        write_set(tmp_path / "x", 1, WriteOptions(seed=3))
    assert not (tmp_path / "x").exists()


def test_a_picture_that_cannot_be_encoded_is_an_error(monkeypatch):
    monkeypatch.setattr(writer.cv2, "imencode", lambda *_: (False, np.zeros(0, np.uint8)))
    with pytest.raises(OutputError, match="must fit its format; png does not take one of"):
        writer._encoded(np.zeros((4, 4, 3), np.uint8), "png")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["parent killed", "worker killed", "Ctrl-C"])
def test_workers_and_the_command_end_together(tmp_path, how):
    arguments = [sys.executable, "-c", "from detector.cli import main; main()", "synth", str(tmp_path / "x")]
    arguments += ["--count", "2000", "--seed", "3", "--size", "32", "--workers", "2"]
    # A session of its own, so that Ctrl-C can be sent to all of it, and to nothing else.
    run = subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait(lambda: len(list((tmp_path / "x").glob("*.jpg"))) > 3 or run.poll() is not None)
        workers = _children(run.pid, "spawn_main")
        assert len(workers) == 2
        if how == "Ctrl-C":
            os.killpg(run.pid, signal.SIGINT)
        else:
            os.kill(run.pid if how == "parent killed" else workers[0], signal.SIGKILL)
        error = run.communicate(timeout=60)[1].decode()
        _wait(lambda: not any(_runs(worker) for worker in workers))
    finally:
        run.kill()
        run.communicate()
    assert "Traceback" not in error
    assert {"Ctrl-C": "interrupted", "worker killed": "every worker must live"}.get(how, "") in error
    assert not (tmp_path / "x" / ANNOTATIONS).exists()


def _wait(ready):
    end = time.monotonic() + 90
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.1)


def _children(parent, word):
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and f"PPid:\t{parent}\n" in (folder / "status").read_text():
                found += [int(folder.name)] if word in (folder / "cmdline").read_text() else []
    return found


def _runs(process):
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def test_the_same_seed_gives_the_same_files_and_a_longer_set_begins_with_them(made, tmp_path, capsys):
    assert run(tmp_path / "again", "--count", 7, "--seed", 3, "--size", 64, "--workers", 1) == 0
    assert "pictures/s" in capsys.readouterr().out
    again, first = files(tmp_path / "again"), files(made)
    assert {name for name in first if again[name] != first[name]} == {ANNOTATIONS, MANIFEST}
    notes, old = (read_coco(folder / ANNOTATIONS).annotations for folder in (tmp_path / "again", made))
    assert list(notes[: len(old)]) == list(old)


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(made, tmp_path):
    assert run(tmp_path / "two", "--count", 6, "--seed", 3, "--size", 64, "--workers", 2) == 0
    assert files(tmp_path / "two") == files(made)


def test_annotations_say_what_the_labels_say(made):
    coco = read_coco(made / ANNOTATIONS)
    labels = [label for number in range(6) for label in make_picture(3, number, SMALL, split="train").labels]
    assert [note["iscrowd"] for note in coco.annotations] == [int(label.ignore) for label in labels]
    assert [note["category_id"] for note in coco.annotations] == [label.label + 1 for label in labels]
    for note, label in zip(coco.annotations, labels, strict=True):
        x, y, width, height = note["bbox"]
        np.testing.assert_allclose([x, y, x + width, y + height], label.box, atol=0.011)
    assert {0, 1} == {note["iscrowd"] for note in coco.annotations}


def test_another_seed_and_another_split_give_other_pictures():
    draws = [picture_rng(*key).random() for key in ((1, 0), (1, 1), (2, 0), (0, 1), (1, 0, "test"), (1, 0, "tesu"))]
    assert len(set(draws)) == len(draws)
    one, two = (make_picture(3, 0, SMALL, split=split) for split in ("train", "test"))
    assert (one.image != two.image).any()


def test_seed_and_number_are_told_apart():
    assert picture_rng(1, 2).random() != picture_rng(2, 1).random()


def test_a_folder_with_something_in_it_is_refused(made, capsys):
    before = files(made)
    assert run(made, "--count", 1, "--seed", 1) != 0
    assert "must be empty" in capsys.readouterr().err
    assert files(made) == before
    with pytest.raises(OutputError, match="must be empty"):
        write_set(made, 1, WriteOptions(seed=1))


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(OutputError, match="folder that can be made"):
        write_set(path, 1, WriteOptions(seed=1))


@pytest.mark.parametrize(("count", "file_format"), [(0, "jpg"), (1, "gif")])
def test_wrong_counts_and_formats_are_refused(tmp_path, count, file_format):
    with pytest.raises(UsageError, match="at least one picture"):
        write_set(tmp_path / "x", count, WriteOptions(seed=1, file_format=file_format))
    assert not (tmp_path / "x").exists()


def test_a_set_has_a_seed_and_a_split(tmp_path, capsys):
    with pytest.raises(UsageError, match="a seed that is not negative"):
        WriteOptions(seed=-1)
    # Without a name it would show what is withheld for the test split, too.
    assert run(tmp_path / "x", "--count", 1, "--seed", 1, "--split", "") != 0
    assert "a split with a name" in capsys.readouterr().err


def test_the_command_line_knows_the_formats_without_loading_them():
    assert synth_cli.FORMATS == FORMATS
    assert "same seed" in " ".join(CliRunner().invoke(synth_cli.synth, ["--help"]).output.split())


def test_png_keeps_every_pixel(tmp_path):
    write_set(tmp_path / "x", 1, WriteOptions(seed=3, settings=SMALL, file_format="png"))
    view = Picture.open(tmp_path / "x" / "000000.png").views(64)[0]
    np.testing.assert_array_equal(view, make_picture(3, 0, SMALL, split="train").image)


def test_settings_come_from_a_file(tmp_path):
    path = tmp_path / "synth.toml"
    path.write_text("empty = 0.5\npeople = [1.0, 0.0, 0.0]\nimage_size = [128, 96]\n")
    settings = read_settings(path)
    assert (settings.empty, settings.people, settings.image_size) == (0.5, (1.0, 0.0, 0.0), (128, 96))
    assert read_settings(path, size=64).image_size == (64, 64)
    assert read_settings(None) == SceneSettings()
    path.write_text("emty = 0.5\n")
    with pytest.raises(PolicyError, match="empty"):
        read_settings(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"people": (0.0, 0.0, 0.0)},
        {"dress": (1.0, -0.1, 0.0)},
        {"views": (np.nan, 1.0, 1.0, 1.0)},
        {"empty": 1.5},
        {"shots": 0},
        {"turned": np.nan},
        {"image_size": (31, 64)},
        {"image_size": (64, 4097)},
        {"people": (1e308, 1e308, 1e308)},
        {"dress": (np.inf, 1.0, 1.0)},
    ],
)
def test_shares_that_are_none_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        SceneSettings(**wrong)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_people_stand_apart(seed):
    persons = sample_group(np.random.default_rng(seed), SceneSettings(people=(0, 0, 1)))
    assert len(persons) == 3
    assert {person.support for person in persons} <= {"stand", "seat"}
    boxes = []
    for person in persons:
        points = np.concatenate([mesh.vertices for mesh in person.meshes])[:, :2]
        boxes.append((points.min(axis=0), points.max(axis=0)))
    for number, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[:number]:
            assert (np.maximum(low, other_low) - np.minimum(high, other_high)).max() >= 0.05


@pytest.mark.slow
def test_dress_decides_what_is_covered():
    nude, clothed = (
        [
            person
            for number in range(6)
            for person in sample_group(np.random.default_rng(number), SceneSettings(people=(1, 0, 0), dress=dress))
        ]
        for dress in ((1, 0, 0), (0, 0, 1))
    )
    assert not any(person.covered or person.parameters["garments"] for person in nude)
    assert all(person.parameters["garments"] for person in clothed)
    assert sum({"genitalia", "buttocks"} <= person.covered for person in clothed) >= 5


@pytest.mark.slow
def test_shots_show_the_same_people_in_other_pictures():
    settings = SceneSettings(image_size=(48, 48), shots=2, empty=0.0)
    one, two, three = (make_picture(1, number, settings) for number in (0, 1, 2))
    assert one.parameters["persons"] == two.parameters["persons"] != three.parameters["persons"]
    assert one.parameters["camera"] != two.parameters["camera"]
    # Alone, out of order, it is the same picture.
    np.testing.assert_array_equal(make_picture(1, 1, settings).image, two.image)


def test_scenes_without_people_have_no_boxes_and_settings_choose_them():
    settings = SceneSettings(image_size=(48, 48), empty=1.0)
    assert all(make_picture(0, number, settings).labels == [] for number in range(4))
    scene = Scene.sample(np.random.default_rng(0), SceneSettings(image_size=(48, 48), empty=0.0, people=(0, 1, 0)))
    assert len(scene.bodies) == len(scene.parameters["persons"]) == 2
    assert [scene.meshes[row].kind for row in scene.bodies] == ["body", "body"]
    json.dumps(scene.parameters, allow_nan=False)


@pytest.mark.slow
def test_a_training_set_renders_by_position(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("albumentations")
    from training_runs import R18, STILL
    from training_runs import SMALL as SMALL_RUN

    from detector.synth.dataset import SynthSet
    from detector.training.config import load_config
    from detector.training.dataset import batch_positions, loader
    from detector.training.run import training_set

    overrides = [*SMALL_RUN, *STILL, "data.synth.pictures=50", "data.synth.seed=3", "data.synth.render_size=64"]
    config = load_config(R18, overrides)
    pictures = training_set(config, lambda _: None)
    assert isinstance(pictures, SynthSet)
    assert len(pictures) == 50
    for position in (0, 120):
        image, target = pictures[position]
        made = make_picture(3, position, SMALL, split="train")
        np.testing.assert_array_equal(image[:3].permute(1, 2, 0), made.image)
        assert (image[3] == 1).all()
        exposed = [label for label in made.labels if not label.ignore]
        assert target["labels"].tolist() == [label.label for label in exposed]
        np.testing.assert_allclose(target["boxes"], np.reshape([label.box for label in exposed], (-1, 4)), atol=1e-3)
        assert len(target["ignore"]) == len(made.labels) - len(exposed)
    # A run that goes on at step 2 sees what one that was never stopped sees there.
    whole, rest = (list(loader(pictures, batch_positions(start, 3, 2), workers=0, pin=False)) for start in (0, 2))
    assert (whole[2].images == rest[0].images).all()


@pytest.mark.slow
def test_a_training_set_knows_only_the_classes_of_the_network():
    pytest.importorskip("torch")
    pytest.importorskip("albumentations")
    from detector.synth.dataset import SynthSet
    from detector.training.config import AugmentConfig, SynthConfig

    still = AugmentConfig(flip=0, crop=0, scale=(1, 1), blur=0, jpeg=0, colour=0, noise=0, cutout=0, grayscale=0)
    classes = ("MALE_BREAST_EXPOSED", "BELLY_EXPOSED")
    synth = SynthConfig(pictures=10, seed=3, render_size=64)
    pictures = SynthSet(synth=synth, classes=classes, image_size=(64, 64), config=still, seed=0)
    for position in range(4):
        names = [
            label.class_name for label in make_picture(3, position, SMALL, split="train").labels if not label.ignore
        ]
        expected = [classes.index(name) for name in names if name in classes]
        assert pictures[position][1]["labels"].tolist() == expected


def test_the_config_that_is_shipped_says_the_defaults():
    assert read_settings(ROOT / "configs" / "synth.toml") == SceneSettings()
    assert read_settings(ROOT / "configs" / "synth_bare.toml").dress[0] == 0.72
