# ruff: noqa: E402 — without the extra [train] these tests are skipped.
"""What a run keeps: checkpoints that go on bit by bit, curves, and nothing of a step that went wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("albumentations")

from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from training_runs import R18, settings, small_run

from detector.errors import DeviceError, InputError, ModelError, UsageError
from detector.retinanet import build_retinanet
from detector.training.annotations import read_annotations
from detector.training.checkpoint import CHECKPOINT, load_checkpoint, read_state, save_checkpoint
from detector.training.config import TrainConfig, load_config
from detector.training.curves import COLUMNS, Curves, plot_curves
from detector.training.dataset import ValidationSet, loader
from detector.training.distributed import Group, choose_device, choose_precision, join_group
from detector.training.ema import Ema
from detector.training.engine import validate
from detector.training.run import BEST, LAST, train
from detector.training.schedule import build_optimizer, set_train_mode

# The second half has the stem and layer1 locked.
FOUR = ("train.steps=4", "train.optimizer=sgd", "train.freeze=[{}, {at=0.5, stages=2}]")


def hush(_: str) -> None:
    pass


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


def net() -> Any:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 1))


def learn(model: Any, optimizer: Any, ema: Ema, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        model(torch.full((3, 1, 1, 1), float(step + 1)) + torch.randn(3, 1, 1, 1)).square().sum().backward()
        optimizer.step()
        ema.update(model)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_checkpoint_goes_on_bit_by_bit(tmp_path: Path, kind: str) -> None:
    config = TrainConfig(optimizer=kind, lr=0.01)
    model = net()
    optimizer, ema = build_optimizer(model, config), Ema(model, 0.9)
    learn(model, optimizer, ema, range(3))
    save_checkpoint(tmp_path / "c", model=model, ema=ema, optimizer=optimizer, state={"step": 3})
    learn(model, optimizer, ema, range(3, 6))

    other = net()
    optimizer2, ema2 = build_optimizer(other, config), Ema(other, 0.9)
    torch.manual_seed(99)
    assert load_checkpoint(tmp_path / "c", model=other, ema=ema2, optimizer=optimizer2)["step"] == 3
    learn(other, optimizer2, ema2, range(3, 6))
    for one, two in ((model, other), (ema.model, ema2.model)):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, two.state_dict()[name]), name
    assert ema.updates == ema2.updates == 6


def test_a_checkpoint_is_plain_tensors_and_json(tmp_path: Path) -> None:
    model = net()
    optimizer, ema = build_optimizer(model, TrainConfig(optimizer="adamw")), Ema(model, 0.9)
    learn(model, optimizer, ema, range(1))
    save_checkpoint(tmp_path / "c", model=model, ema=ema, optimizer=optimizer, state={"step": 1, "config": {"a": [1]}})
    names = load_file(tmp_path / "c").keys()
    assert {"model/0.weight", "ema/0.weight", "optimizer/0.weight/exp_avg", "rng/cpu"} <= names
    assert read_state(tmp_path / "c")["config"] == {"a": [1]}


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x80\x04."])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(ModelError, match="must be a checkpoint of a training run"):
        read_state(tmp_path / "c")


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    model = net()
    optimizer = build_optimizer(model, TrainConfig())
    save_checkpoint(tmp_path / "c", model=model, ema=None, optimizer=optimizer, state={})
    other = nn.Linear(2, 2)
    with pytest.raises(ModelError, match="must be of this model"):
        load_checkpoint(tmp_path / "c", model=other, ema=None, optimizer=build_optimizer(other, TrainConfig()))
    with pytest.raises(ModelError, match="ema_decay"):
        load_checkpoint(tmp_path / "c", model=model, ema=Ema(model, 0.9), optimizer=optimizer)


@pytest.mark.slow
def test_four_steps_are_two_and_two(tmp_path: Path) -> None:
    """The whole run: data order, augmentation, schedule, frozen stages, average, optimiser."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    results = []
    for folder, stops in ((straight, [None]), (broken, [2, None])):
        folder.mkdir()
        for number, stop in enumerate(stops):
            config = small_run(folder, *FOUR,
                               f"train.resume={'true' if number else 'false'}")  # fmt: skip
            result = train(config, stop=stop, say=hush)
        results.append(result)
    assert results[0].losses == results[1].losses
    one, two = (load_file(folder / "run" / CHECKPOINT) for folder in (straight, broken))
    assert one.keys() == two.keys()
    assert not [name for name in one if not torch.equal(one[name], two[name])]
    rows = [(folder / "run" / "curves.csv").read_text().splitlines() for folder in (straight, broken)]
    without_speed = [[line.split(",")[:7] for line in lines] for lines in rows]
    assert without_speed[0] == without_speed[1]
    assert len(rows[0]) == 5
    with pytest.raises(UsageError, match=r"holds a run already; give train.resume=true"):
        train(small_run(broken, "train.steps=4"), say=hush)
    with pytest.raises(UsageError, match=r"train.lr, train.seed differ from"):
        train(small_run(broken, *FOUR, "train.resume=true",
                        "train.lr=0.5", "train.seed=4"), say=hush)  # fmt: skip


def test_a_run_without_a_checkpoint_cannot_go_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is none in"):
        train(small_run(tmp_path, "train.resume=true"), say=hush)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    config = small_run(tmp_path, "train.steps=9", "train.lr=1e30", "train.clip_grad_norm=0.0", "train.optimizer=sgd")
    with pytest.raises(ModelError, match=r"must be finite; step \d at learning rate 9.* gave loss_cls .*, loss_box"):
        train(config, say=hush)
    assert not (tmp_path / "run" / CHECKPOINT).exists(), "nothing of it is kept"


def test_a_checkpoint_without_settings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    model = net()
    optimizer = build_optimizer(model, TrainConfig())
    save_checkpoint(tmp_path / "run" / CHECKPOINT, model=model, ema=None, optimizer=optimizer, state={"config": []})
    with pytest.raises(ModelError, match="must hold the settings of its run"):
        train(small_run(tmp_path, "train.resume=true"), say=hush)


def test_a_run_without_a_single_box_is_refused(tmp_path: Path) -> None:
    config = small_run(tmp_path)
    path = Path(config.data.annotations)
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
    with pytest.raises(InputError, match="must have boxes to learn from"):
        train(config, say=hush)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_what_a_run_says_and_writes(tmp_path: Path) -> None:
    lines: list[str] = []
    overrides = ["train.steps=2", "train.evaluate_every=1", "train.loss.box_loss=giou", "train.head_lr_multiplier=5.0"]
    result = train(small_run(tmp_path, *overrides, validate=True, count=3), say=lines.append)
    assert lines[0] == "device: cpu (it was asked for); 1 process"
    assert lines[1] == "precision: float32 (the CPU is the exact reference)"
    assert any("pictures/s" in line and "loss_cls" not in line for line in lines)
    assert any("AP50" in line for line in lines)
    assert any(line.startswith("warning: no box of ") and "MALE_GENITALIA_EXPOSED" in line for line in lines)
    assert result.best_ap is not None
    assert set(result.figures) == {"AP", "AP50", "AP75"}
    out = tmp_path / "run"
    assert {path.name for path in out.iterdir()} == {
        BEST, LAST, CHECKPOINT, "config.json", "curves.csv", "curves.png",
    }  # fmt: skip
    assert json.loads((out / "config.json").read_text())["train"]["steps"] == 2
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    average = load_file(out / CHECKPOINT)
    torch.manual_seed(0)
    start = build_retinanet(load_config(R18, settings(tmp_path)).model).state_dict()
    weight = "head.regression_head.conv.0.0.weight"
    assert not torch.equal(average[f"ema/{weight}"], start[weight]), "the average moves"
    assert not torch.equal(average[f"ema/{weight}"], average[f"model/{weight}"]), "and trails"
    assert str(tmp_path).encode() not in (out / LAST).read_bytes(), "a weight file does not say where it was made"
    assert b'"out": "run"' in (out / LAST).read_bytes().replace(b'\\"', b'"')
    with safe_open(out / LAST, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118 - not a dict
            assert torch.equal(weights.get_tensor(name), average[f"ema/{name}"]), "the average is what is saved"


def test_looking_leaves_locked_norms_locked(tmp_path: Path) -> None:
    config = small_run(tmp_path, "model.norm=batch", validate=True, count=1)
    model = build_retinanet(config.model)
    set_train_mode(model, stages=2, freeze_bn=True)
    before = [module.training for module in model.modules()]
    truth = read_annotations(Path(config.data.val_annotations), config.data.classes)
    pictures = ValidationSet(
        annotations=truth, folder=Path(config.data.images), image_size=config.data.image_size
    )  # fmt: skip
    batches = loader(pictures, [[0]], workers=0, pin=False)
    group = Group(device=torch.device("cpu"))
    figures = validate(model, batches, truth.dataset, config=config, group=group, dtype=torch.bfloat16)
    assert figures["AP"] < 0.5
    assert [module.training for module in model.modules()] == before
    assert len(set(before)) == 2


def test_the_batch_must_divide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from detector.training.run import Run

    config = small_run(tmp_path, "train.batch_size=3")
    with pytest.raises(UsageError, match="must divide by their number; got 3 and 2"):
        Run(config, Group(device=torch.device("cpu"), world_size=2), torch.float32, hush)


def test_curves(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "curves.csv")
    for step in (1, 2, 3):
        curves.add({"step": step, "loss": 1 / step})
    curves.add({"step": 3, "AP": 0.5})
    again = Curves(tmp_path / "curves.csv", 2)
    assert again.column("loss") == ([1, 2], [1.0, 0.5])
    assert curves.column("AP") == ([3], [0.5])
    plot_curves(curves, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert (tmp_path / "curves.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    (tmp_path / "curves.csv").write_text("step,los\n1,2\n")
    with pytest.raises(InputError, match="must have the columns"):
        Curves(tmp_path / "curves.csv", 2)


def test_device_and_precision_have_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == (torch.device("cpu"), "no CUDA device is there")
    with pytest.raises(DeviceError, match="there are 0"):
        choose_device("cuda")
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu)[0] == torch.float32
    assert choose_precision("bf16", cpu) == (torch.bfloat16, "it was asked for")


def test_one_process_without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with join_group("cpu") as (group, _):
        assert group.is_first
        assert group.gather_rows(torch.ones(2, 3)).shape == (2, 3)
        assert group.mean(torch.tensor([1.0])).item() == 1
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(UsageError, match="must be numbers"), join_group("cpu"):
        pass
