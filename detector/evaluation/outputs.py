"""What both modes of `detector evaluate` do with their results: check the paths first, write in one step, gate."""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from detector.atomic import write_atomic
from detector.cliparts import EXIT_FAILED
from detector.errors import UsageError
from detector.evaluation.gate import check_gate

__all__ = ["EXIT_LOOK", "check_outputs", "gate_code", "name_apart", "write_result", "write_text"]

# As in `censor`: written, but a person should look.
EXIT_LOOK = 3


def check_outputs(options: Mapping[str, Any], source: Path) -> None:
    """Refuse before the work what would fail after it, or would write over what it was read from.

    Args:
        options: of the command, by name.
        source: the annotations or labels. The baseline must not be written over either: a worse result in its place
            would be what the next one is held against.

    Raises:
        UsageError: when an output's folder is missing, it is an input or another output, a policy's suffix is another,
            or a model is named twice.
    """
    read = [source, *([options["gate"]] if options["gate"] else []), *map(Path, options["models"])]
    taken = {path.resolve() for path in read}
    for key in ("json_path", "html_path", "write_policy"):
        path: Path | None = options[key]
        if path is None:
            continue
        if not path.resolve().parent.is_dir():
            raise UsageError(f"the folder of an output must exist; there is no {path.parent}; make it first")
        if path.resolve() in taken:
            raise UsageError(f"an output must be a file of its own, no input and no other output; got {path} again")
        taken.add(path.resolve())
    if options["write_policy"] and options["write_policy"].suffix != ".toml":
        raise UsageError(f"a policy file must end in .toml, to be loaded by its path; got {options['write_policy']}")
    models = options["models"]
    if len(set(models)) != len(models):
        raise UsageError(f"each --model must be named once; got {', '.join(models)}")


def name_apart(models: Sequence[Any], given: Sequence[str | None]) -> None:
    """Call models that share a name (`best.safetensors` of two runs) as they were given on the command line."""
    counts = Counter(model.name for model in models)
    for model, text in zip(models, given, strict=True):
        if counts[model.name] > 1 and text is not None:
            model.name = text


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write every figure as JSON."""
    write_text(path, json.dumps(result, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file in one step, so that a former result stays whole when this fails; say so."""
    write_atomic(path, text.encode())
    print(f"wrote {path}", file=sys.stderr)


def gate_code(result: Mapping[str, Any], baseline: Mapping[str, Any] | None, tolerance: float) -> int:
    """Print what fell since the baseline; return 1 when something did, else 0."""
    if baseline is None:
        return 0
    fallen = check_gate(result, baseline, tolerance)
    for line in fallen:
        click.echo(f"gate: {line}", err=True)
    if not fallen:
        click.echo(f"gate: no figure fell by more than {tolerance:g}")
    return EXIT_FAILED if fallen else 0
