"""`detector import-weights FILE` and `detector export WEIGHTS OUT`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detector.cliparts import split_names
from detector.errors import ModelError, UsageError

if TYPE_CHECKING:
    from detector.exchange.imported import Imported

__all__ = ["export", "import_weights"]

# What must be there besides the base install.
_NEEDED = ("torch", "torchvision", "safetensors", "onnx", "onnxscript")

# A folder's pictures that int8 is calibrated on: more take longer and change nothing.
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@contextmanager
def _packages() -> Iterator[None]:
    """Turn the lack of a package into what to type."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").split(".")[0]
        if name not in _NEEDED:
            raise
        raise UsageError(
            f"this needs {name}; it is not installed; type, in the checkout: pip install '.[torch]'"
        ) from error


@click.command("import-weights")
@click.argument("file", type=click.Path(dir_okay=False), metavar="FILE")
@click.option("--out", metavar="OUT", help="Where to write to.  [FILE with .safetensors, in this folder]")
@click.option("--storage", type=click.Choice(["float32", "float16", "int8"]), default="float32", show_default=True)
@click.option("--classes", metavar="A,B", help="What the labels mean, in order; NudeNet v2's are known.")
@click.option("--norm-eps", type=float, metavar="E", help="torchvision: epsilon of the batch norms.  [1e-5]")
@click.option(
    "--stride-in-1x1/--no-stride-in-1x1", default=True, help="detectron2: its MODEL.RESNETS.STRIDE_IN_1X1.  [on]"
)
def import_weights(file: str, **options: Any) -> int:
    """Turn a RetinaNet from elsewhere into our format: keras-retinanet (.onnx), torchvision or detectron2 (.pth).

    \b
    Examples:
      detector import-weights detector_v2_base_checkpoint.onnx
      detector import-weights --storage int8 --out v2.safetensors detector_v2_default_checkpoint.onnx
      detector import-weights --classes BELLY,BUTTOCKS model.pth
    """
    with _packages():
        from detector.weights import save_weights

        source = Path(file)
        imported = _read(source, options)
        out = Path(options["out"] or f"{source.stem}.safetensors")
        if out.resolve() == source.resolve():
            raise UsageError(f"--out must be another file than the source; got {out}")
        digest = save_weights(
            out,
            imported.model,
            metadata={"classes": list(imported.class_names), "origin": imported.origin, "source": source.name},
            storage=options["storage"],
        )
    config = imported.config
    click.echo(f"{out}: {imported.origin}, {config.backbone}, {config.num_classes} classes, sha256 {digest}")
    return 0


def _read(source: Path, options: dict[str, Any]) -> "Imported":
    """Import by what the file holds."""
    names = split_names(options["classes"])
    if source.suffix.lower() == ".onnx":
        from detector.exchange.keras_import import import_keras_onnx

        return import_keras_onnx(source, names)
    from detector.exchange.detectron2_import import import_detectron2, is_detectron2_state
    from detector.exchange.imported import list_some
    from detector.exchange.state_dicts import read_state
    from detector.exchange.torchvision_import import import_torchvision, is_torchvision_state

    state = read_state(source)
    if is_detectron2_state(state):
        return import_detectron2(source, names, stride_in_1x1=options["stride_in_1x1"])
    if is_torchvision_state(state):
        return import_torchvision(source, names, norm_eps=options["norm_eps"])
    raise ModelError(
        f"{source} must be a RetinaNet of keras-retinanet (.onnx), torchvision or detectron2; "
        f"it holds {list_some(state)}"
    )


@click.command()
@click.argument("weights", type=click.Path(dir_okay=False), metavar="WEIGHTS")
@click.argument("out", type=click.Path(dir_okay=False), metavar="OUT")
@click.option("--format", "kind", type=click.Choice(["onnx", "safetensors"]), help="What to write.  [OUT's suffix]")
@click.option("--int8", is_flag=True, help="ONNX: 8-bit convolutions, for CPUs; needs --calibration.")
@click.option("--calibration", metavar="FOLDER", help="Pictures to measure ranges on: some dozens, like those to come.")
@click.option(
    "--storage", type=click.Choice(["float32", "float16", "int8"]), help="How numbers are kept; .onnx: not int8."
)
def export(weights: str, out: str, **options: Any) -> int:
    """Write WEIGHTS (.safetensors) as ONNX, and prove that it gives what torch gives; or as a smaller weight file.

    \b
    Examples:
      detector export weights.safetensors model.onnx
      detector export --storage float16 weights.safetensors half-the-size.onnx
      detector export --int8 --calibration photos weights.safetensors model-int8.onnx
      detector export --storage int8 weights.safetensors small.safetensors
    """
    kind = options["kind"] or Path(out).suffix.lower().lstrip(".")
    if kind not in ("onnx", "safetensors"):
        raise UsageError(f"OUT must end in .onnx or .safetensors, or --format be given; got {out}")
    if Path(out).resolve() == Path(weights).resolve():
        raise UsageError(f"OUT must be another file than WEIGHTS; got {out}")
    if options["int8"] != (options["calibration"] is not None):
        raise UsageError("--int8 and --calibration FOLDER must be given together; one of them is missing")
    storage = options["storage"] or "float32"
    if options["int8"] and (kind == "safetensors" or storage != "float32"):
        raise UsageError("--int8 is for .onnx, without --storage; take --storage int8 for .safetensors")
    if kind == "onnx" and storage == "int8":
        raise UsageError("--storage int8 is for .safetensors; take --int8 --calibration FOLDER for .onnx")
    with _packages():
        if kind == "onnx":
            _export_onnx(weights, out, options["calibration"], storage)
        else:
            _export_weights(weights, out, storage)
    return 0


def _export_onnx(weights: str, out: str, calibration: str | None, storage: str) -> None:
    import tempfile

    from detector.exchange.onnx_export import OPSET, export_onnx, quantize_int8
    from detector.weights import load_weights, read_weights_info

    info = read_weights_info(weights)
    images = _calibration_images(Path(calibration), info.config) if calibration else []
    target = Path(out)
    kept = {"weights_sha256": info.sha256, **{key: str(value) for key, value in info.metadata.items()}}
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx" if calibration else target
        difference = export_onnx(load_weights(weights), plain, class_names=info.classes, metadata=kept, storage=storage)
        click.echo(f"{out}: opset {OPSET}, differs from torch by at most {difference:.1g}")
        if calibration:
            mean, worst = quantize_int8(plain, target, images)
            click.echo(f"{out}: 8 bits change scores by {mean:.3g} on average, {worst:.3g} at most")


def _export_weights(weights: str, out: str, storage: str) -> None:
    from detector.weights import load_weights, read_weights_info, save_weights

    info = read_weights_info(weights)
    metadata = {**info.metadata, "classes": list(info.classes), "stored_from": info.sha256}
    digest = save_weights(out, load_weights(weights), metadata=metadata, storage=storage)
    click.echo(f"{out}: {storage}, {Path(out).stat().st_size / 1e6:.1f} MB, sha256 {digest}")


def _calibration_images(folder: Path, config: Any) -> list[Any]:
    """Return the network inputs of a folder's pictures."""
    from detector.picture import Picture
    from detector.preprocess import network_input, prepare

    if not folder.is_dir():
        raise UsageError(f"--calibration must be a folder of pictures; {folder} is none")
    images, table = [], config.preprocessing
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES):
        prepared = [prepare(view, table, 128) for view in Picture.open(path).views(table.long_side)]
        images += [network_input(one, table)[None] for one in prepared]
    if not images:
        raise UsageError(f"--calibration must hold pictures ({', '.join(_SUFFIXES)}); {folder} has none")
    return images
