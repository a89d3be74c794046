"""The options of `censor` for animations and files of several pages."""

from typing import Any

import click

from detector.cliparts import F

__all__ = ["frame_limits", "frames_options"]


def frames_options(function: F) -> F:
    """Add `--max-frames`."""
    option = click.option(
        "--max-frames",
        type=click.IntRange(1),
        default=5_000,
        metavar="N",
        help="Most frames of an animation, or pages, accepted.  [5000]",
    )
    return option(function)


def frame_limits(options: dict[str, Any]) -> dict[str, int]:
    """Return what `Limits` takes for frames."""
    return {"max_frames": options["max_frames"]}
