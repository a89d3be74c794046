# ruff: noqa: E402 — without the extra [train] these tests are skipped.
"""Training a classifier: the image folder, the recipe, and whole runs of a network of one layer."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("albumentations")

from click.testing import CliRunner
from drawn_classes import CLASSES, MODEL, draw_folder, drawn
from PIL import Image
from safetensors.torch import load_file

from detector.classifier import build_classifier
from detector.classifier_config import ClassifierConfig
from detector.classifier_predictor import ClassifierPredictor
from detector.classifying.cli import train_classifier as command
from detector.classifying.config import AugmentConfig, ClassifierRunConfig, TrainConfig, load_classifier_config
from detector.classifying.dataset import LabelBatch, augmented
from detector.classifying.engine import ClassifierEngine, class_weights, figures_of
from detector.classifying.folders import read_folder
from detector.classifying.run import train_classifier
from detector.errors import InputError, ModelError, PolicyError, UsageError
from detector.training.checkpoint import CHECKPOINT
from detector.training.config import FreezePhase
from detector.training.distributed import Group
from detector.training.loop import BEST, LAST
from detector.training.schedule import lr_factor

R101 = Path(__file__).resolve().parent.parent / "configs" / "classifier_r101.toml"
TINY = (
    *MODEL,
    "model.arch=cnn",
    "model.input_size=32",
    "data.workers=0",
    "train.device=cpu",
    "train.batch_size=5",
    "train.epochs=1.0",
    "train.steps=4",
    "train.warmup_steps=1",
    "train.log_every=1",
    "train.evaluate_every=2",
    "train.checkpoint_every=1000",
    "train.freeze=[{}, {at=0.5, stages=1}]",
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Wait for no disk, and draw no plot but where it is looked at."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    if request.function is not test_what_a_run_says_and_writes:
        monkeypatch.setattr("detector.training.loop.plot_curves", lambda *_: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("drawn"), train=4, val=2, side=32)


def tiny(folder: Path, out: Path, *overrides: str) -> ClassifierRunConfig:
    return load_classifier_config(R101, [*TINY, f"data.folder={folder}", f"train.out={out}", *overrides])


def hush(_: str) -> None:
    pass


def test_the_config_is_the_sources_recipe() -> None:
    config = load_classifier_config(R101)
    assert config.model == ClassifierConfig()
    train = config.train
    assert (train.lr, train.momentum, train.weight_decay, train.head_lr_multiplier) == (0.01, 0.9, 1e-4, 5.0)
    rates = [lr_factor(step, 12_000, train) for step in (1_999, 2_001, 4_001, 8_001, 8_998)]  # 100 steps an epoch
    assert rates == pytest.approx([1, 0.1, 0.01, 0.001, 0.001])
    assert lr_factor(9_000, 12_000, train) == pytest.approx(0.001), "the second phase warms up anew"
    assert lr_factor(9_600, 12_000, train) == pytest.approx(1)
    assert lr_factor(9_700, 12_000, train) == pytest.approx(0.1)


def test_without_restart_phases_do_not_touch_the_rate() -> None:
    config = TrainConfig(freeze=(FreezePhase(), FreezePhase(at=0.5, stages=1)), warmup_steps=0, schedule="cosine")
    assert lr_factor(50, 101, config) == pytest.approx(0.505)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.best_by=ballanced", "the nearest is balanced_accuracy"),
        ("train.class_weights=explicit", "exactly with"),
        ("train.weight_by_class={noise=2.0}", "exactly with"),
        ("train.label_smoothing=1.0", r"\[0, 0.99\]"),
        ("train.freeze=[{stages=2}]", "at most the 1 stages of cnn"),
        ("data.val_share=1.0", "between 0 and 1"),
        ("data.folder=", "it is empty"),
        ("data.augment.rotation=200.0", r"\[0, 180\]"),
        ("train.lable_smoothing=0.1", "the nearest is label_smoothing"),
    ],
)
def test_settings_that_make_no_sense_are_refused(override: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        load_classifier_config(R101, [*TINY, override])
    with pytest.raises(PolicyError, match="the nearest is noise"):
        load_classifier_config(R101, [*TINY, "train.class_weights=explicit", "train.weight_by_class={noises=1.0}"])


def test_class_weights() -> None:
    labels = [0] * 6 + [1] * 2
    assert class_weights(TrainConfig(), "ab", labels) == [1, 1]
    balanced = class_weights(TrainConfig(class_weights="balanced"), "ab", labels)
    assert balanced == pytest.approx([8 / 12, 2])
    assert np.mean([balanced[label] for label in labels]) == pytest.approx(1)
    explicit = TrainConfig(class_weights="explicit", weight_by_class={"b": 3.0})
    assert class_weights(explicit, "ab", labels) == [1, 3]


def test_the_loss_is_the_weighted_mean_over_pictures() -> None:
    config = load_classifier_config(R101, [*TINY, "train.label_smoothing=0.2"])
    torch.manual_seed(0)
    engine = ClassifierEngine(
        model=build_classifier(config.model),
        config=config,
        weights=[1, 1, 1, 1, 4],
        group=Group(device=torch.device("cpu")),
        total=1,
    )
    images = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    batch = LabelBatch(images, torch.tensor([0, 4]), torch.tensor([0, 1]))
    logits: list[torch.Tensor] = []
    engine.model.head.register_forward_hook(lambda _m, _i, out: logits.append(out.detach()))
    loss = engine.losses(engine.model, batch)["loss"].item()
    by_hand = 0.0
    for row, label, weight in zip(logits[0].log_softmax(dim=1), (0, 4), (1, 4), strict=True):
        target = torch.full((5,), 0.2 / 5)
        target[label] += 0.8
        by_hand -= weight * float(target @ row) / 2
    assert loss == pytest.approx(by_hand, rel=1e-5)


def test_figures_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    chance = np.random.default_rng(0)
    labels = np.concatenate([np.arange(5), chance.integers(0, 5, 95)])
    logits = chance.normal(size=(100, 5)) + 1.5 * np.eye(5)[labels]
    found = figures_of(torch.tensor(logits, dtype=torch.float32), torch.tensor(labels), CLASSES, (2, 3))
    said = logits.argmax(axis=1)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, said))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, said))
    assert found["val_loss"] == pytest.approx(metrics.log_loss(labels, shares), rel=1e-5)
    recalls = metrics.recall_score(labels, said, average=None)
    assert [found[f"recall_{name}"] for name in CLASSES] == pytest.approx(recalls)
    two = shares[:, [2, 3]].sum(axis=1) > 0.5
    assert found["nsfw_accuracy"] == pytest.approx(metrics.accuracy_score(np.isin(labels, [2, 3]), two))


def test_changes_depend_on_nothing_but_the_generator() -> None:
    model, config = ClassifierConfig(arch="cnn", input_size=32), AugmentConfig()
    for size in ((40, 40), (7, 300), (300, 7), (32, 37), (1, 1)):
        image = drawn("circles", 1).resize(size)
        one, two, other = (augmented(image, model, config, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert one.shape == (32, 32, 3)
        assert one.dtype == np.uint8
        assert (one == two).all()
        assert size == (1, 1) or not (one == other).all()
    still = AugmentConfig(crop=False, rotation=0.0, flip=0.0)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    assert (augmented(image, model, still, np.random.default_rng(0)) == np.asarray(image)).all()
    mirrored = augmented(image, model, AugmentConfig(crop=False, rotation=0.0, flip=1.0), np.random.default_rng(0))
    assert (mirrored == np.asarray(image)[:, ::-1]).all()


def test_a_folder_with_both_parts(folder: Path) -> None:
    data = read_folder(folder, CLASSES, val_share=0.5, seed=0)
    assert (len(data.train), len(data.val)) == (20, 10)
    assert [picture.label for picture in data.train] == sorted([0, 1, 2, 3, 4] * 4)
    assert all(picture.path.parent.name == CLASSES[picture.label] for picture in (*data.train, *data.val))


def test_a_split_keeps_copies_together(tmp_path: Path) -> None:
    draw_folder(tmp_path, train=8)
    for name in ("circles", "checks"):
        for path in sorted((tmp_path / name).glob("*.png")):
            image = Image.open(path)
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((90, 90)).save(path.with_suffix(".jpg"))
    one, again, other = (read_folder(tmp_path, CLASSES, val_share=0.25, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one.val != other.val
    train, val = ({p.path.with_suffix("") for p in part} for part in (one.train, one.val))
    assert not train & val
    assert len(one.train) + len(one.val) == 8 * 5 + 16
    assert {p.label for p in one.train} == {p.label for p in one.val} == set(range(5))
    assert "near-copies" in one.split


def test_folders_that_are_not_as_they_must_be(tmp_path: Path, folder: Path) -> None:
    def refused(change: str, message: str) -> None:
        copy = tmp_path / change.replace("/", "_").replace(" ", "_")
        shutil.copytree(folder, copy)
        words = change.split()
        if words[0] == "rename":
            (copy / words[1]).rename(copy / words[2])
        elif words[0] == "remove":
            shutil.rmtree(copy / words[1])
        elif words[0] == "make":
            (copy / words[1]).mkdir(parents=True)
        else:
            (copy / words[1]).write_text("no picture")
        with pytest.raises(InputError, match=message):
            read_folder(copy, CLASSES, val_share=0.1, seed=0)

    refused("rename train/noise train/noisy", "got noisy; the nearest is noise")
    refused("remove val/checks", "there is none for checks")
    refused("remove val", "there is no val")
    refused("make other/circles", "got the folder other")
    refused("write train/noise/labels.csv", r"labels\.csv: a class's folder must hold pictures only")
    copy = tmp_path / "empty"
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "val" / "noise")
    (copy / "val" / "noise").mkdir()
    (copy / "val" / "noise" / ".DS_Store").write_text("")
    with pytest.raises(InputError, match="at least one picture"):
        read_folder(copy, CLASSES, val_share=0.1, seed=0)
    with pytest.raises(InputError, match="is not"):
        read_folder(tmp_path / "nowhere", CLASSES, val_share=0.1, seed=0)


def test_what_a_run_says_and_writes(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = [f"--set={text}" for text in TINY if not text.startswith(("model.arch", "train.device"))]
    arguments = [str(R101), "--data", str(folder), "--out", str(out), "--arch", "cnn", "--device", "cpu", *options]
    done = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert done.exception is None, done.exception
    lines = done.output.splitlines()
    assert lines[0] == "device: cpu (it was asked for); 1 process"
    assert lines[1] == "precision: float32 (the CPU is the exact reference)"
    assert "train: circles 4, ramps 4, stripes 4, checks 4, noise 4" in lines
    assert any("class weights: circles 1," in line for line in lines)
    assert any("train accuracy" in line and "pictures/s" in line for line in lines)
    assert "best so far by balanced accuracy" in next(line for line in lines if "balanced accuracy 0" in line)
    assert lines[-1] == f"4 steps; weights in {out}"
    assert {path.name for path in out.iterdir()} == {
        BEST, LAST, CHECKPOINT, "config.json", "curves.csv", "curves.png", "split.json",
    }  # fmt: skip
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    header = (out / "curves.csv").read_text().splitlines()[0].split(",")
    assert {"loss", "train_accuracy", "balanced_accuracy", "images_per_second", "recall_noise"} <= set(header)
    assert json.loads((out / "split.json").read_text())["val"][0] == "val/circles/1000.png"
    predictor = ClassifierPredictor.from_file(out / BEST)
    assert predictor.class_names == CLASSES
    assert 0 < predictor.score(drawn("stripes", 3)) < 1


def test_four_steps_are_two_and_two(folder: Path, tmp_path: Path) -> None:
    straight = train_classifier(tiny(folder, tmp_path / "a"), say=hush)
    train_classifier(tiny(folder, tmp_path / "b"), stop=2, say=hush)
    with pytest.raises(UsageError, match="holds a run already"):
        train_classifier(tiny(folder, tmp_path / "b"), say=hush)
    with pytest.raises(UsageError, match=r"train\.label_smoothing differ from"):
        train_classifier(tiny(folder, tmp_path / "b", "train.resume=true", "train.label_smoothing=0.3"), say=hush)
    broken = train_classifier(tiny(folder, tmp_path / "b", "train.resume=true"), say=hush)
    assert straight.losses == broken.losses
    assert straight.figures == broken.figures
    one, two = (load_file(tmp_path / name / CHECKPOINT) for name in "ab")
    assert one.keys() == two.keys()
    assert not [name for name in one if not torch.equal(one[name], two[name])]
    started = load_file(tmp_path / "a" / LAST)
    assert not torch.equal(one["model/head.weight"], started["head.weight"]), "what is saved is the average"


def test_a_run_goes_on_with_its_own_pictures(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    train_classifier(tiny(copy, tmp_path / "run"), stop=1, say=hush)
    drawn("noise", 77).save(copy / "train" / "noise" / "new.png")
    with pytest.raises(InputError, match="the pictures that it began with"):
        train_classifier(tiny(copy, tmp_path / "run", "train.resume=true"), say=hush)


def test_the_locked_stage_does_not_move(folder: Path, tmp_path: Path) -> None:
    train_classifier(tiny(folder, tmp_path / "run", "train.checkpoint_every=2"), stop=2, say=hush)
    before = load_file(tmp_path / "run" / CHECKPOINT)
    train_classifier(tiny(folder, tmp_path / "run", "train.checkpoint_every=2", "train.resume=true"), say=hush)
    after = load_file(tmp_path / "run" / CHECKPOINT)
    assert torch.equal(before["model/body.conv1.weight"], after["model/body.conv1.weight"])
    assert not torch.equal(before["model/head.weight"], after["model/head.weight"])


def test_the_best_may_be_the_lowest_loss(folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    result = train_classifier(tiny(folder, tmp_path / "run", "train.best_by=loss"), say=lines.append)
    assert any("best so far by loss" in line for line in lines)
    assert result.best is not None
    assert result.best <= 0
    losses = [float(line.split("val loss ")[1].split()[0]) for line in lines if "val loss" in line]
    assert result.best == pytest.approx(-min(losses), abs=1e-4)


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_broken_picture_stops_the_run_and_is_named(folder: Path, tmp_path: Path, part: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = sorted((copy / part / "noise").glob("*.png"))[0]
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match=rf"noise/{path.name}.*repair it or take it out"):
        train_classifier(tiny(copy, tmp_path / "run"), say=hush)


def test_a_loss_that_is_not_finite_stops_the_run(folder: Path, tmp_path: Path) -> None:
    config = tiny(folder, tmp_path / "run", "train.lr=1e30", "train.clip_grad_norm=0.0", "train.steps=9")
    with pytest.raises(ModelError, match=r"must be finite; step \d at learning rate .* gave loss "):
        train_classifier(config, say=hush)
    assert not (tmp_path / "run" / CHECKPOINT).exists(), "nothing of it is kept"


def test_the_command_names_what_it_does_not_know(tmp_path: Path) -> None:
    arguments = [str(R101), "--arch", "resnet5", "--out", str(tmp_path / "x")]
    done = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert isinstance(done.exception, PolicyError | UsageError)
    assert "the nearest is resnet50" in str(done.exception)


def test_a_start_is_taken(folder: Path, tmp_path: Path) -> None:
    train_classifier(tiny(folder, tmp_path / "a"), stop=1, say=hush)
    lines: list[str] = []
    config = tiny(folder, tmp_path / "b", f"train.init={tmp_path / 'a' / LAST}")
    train_classifier(config, stop=1, say=lines.append)
    assert any("init: 4 of 4 tensors" in line for line in lines)
