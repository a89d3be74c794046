"""Settings of scenes from a TOML file."""

import dataclasses
from pathlib import Path

from detector.config import from_table, read_toml
from detector.synth.scene import SceneSettings

__all__ = ["read_settings"]


def read_settings(path: Path | None, *, size: int | None = None) -> SceneSettings:
    """Return the settings of a file, or the defaults.

    Args:
        path: a TOML file whose keys are the fields of `SceneSettings`; None takes the defaults.
        size: side of square pictures; None keeps what the file says.

    Raises:
        PolicyError: for a file that cannot be read, an unknown key or a value of another type.
        UsageError: for shares that are none.
    """
    settings = SceneSettings() if path is None else from_table(SceneSettings, read_toml(path), str(path))
    return settings if size is None else dataclasses.replace(settings, image_size=(size, size))
