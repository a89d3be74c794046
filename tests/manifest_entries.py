"""Entries of the manifest for weight files that a test wrote."""

import hashlib
from dataclasses import replace
from pathlib import Path

from detector.classes import CLASSES
from detector.models import ModelEntry, list_models


def entry_of(file: Path, *, name: str, engine: str) -> ModelEntry:
    """Return an entry of the six classes for a file that lies in the weights folder."""
    content = file.read_bytes()
    return replace(
        list_models()[0],
        name=name,
        engine=engine,
        package=None,
        file=file.name,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        classes=CLASSES,
    )
