"""One hash of everything that decides what a result looks like: another one, and a folder is done again."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import detector
from censor.batch.journal import hash_file
from censor.pipeline import Pipeline

__all__ = ["settings_key"]

# Options that change how a run goes and not what it writes, or that the policy and the model stand for. Every other one
# counts, also one that is added later.
WITHOUT_EFFECT = frozenset(
    {
        *("paths", "workers", "quiet", "as_json", "device", "in_place", "include", "exclude", "dry_run", "journal"),
        *("report", "max_bytes", "max_pixels", "max_side", "policy", "model"),
    }
)


def settings_key(pipeline: Pipeline, options: Mapping[str, Any]) -> str:
    """Return the hash, 64 hexadecimal digits.

    It covers this package's version, the models' weights, the whole policy as it applies, and the options; of an
    option or a policy's key that names a file, its content.
    """
    opinion = pipeline.opinion
    parts = {
        "version": detector.__version__,
        "model": [pipeline.model.name, pipeline.model.sha256],
        "opinion": [getattr(opinion, "name", None), getattr(opinion, "sha256", None)] if opinion else None,
        "policy": _plain(dataclasses.asdict(pipeline.policy)),
        "verify": pipeline.verify,
        "options": _plain({name: value for name, value in options.items() if name not in WITHOUT_EFFECT}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return what JSON can hold.

    Raises:
        TypeError: for anything that has no value of its own to compare; its `repr` might differ from run to run.
    """
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, str) and os.path.isfile(value):
        return [value, hash_file(value)]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Path):
        return [str(value), hash_file(str(value))]
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Iterable):
        items = [_plain(item) for item in value]
        return sorted(items) if isinstance(value, set | frozenset) else items
    raise TypeError(f"a setting must be plain data; got {type(value).__name__}")
