"""The options of `censor` that say how something is hidden, beyond the most common ones."""

from typing import Any

import click

from detector.cliparts import F
from detector.errors import UsageError

__all__ = ["STYLE_NAMES", "style_changes", "style_options", "wants_demo"]

# What `load_censor_policy` takes from these options.
STYLE_NAMES = ("cells", "sticker", "caption", "whole")


def style_options(function: F) -> F:
    """Add `--cells`, `--sticker`, `--caption`, `--whole` and `--demo-styles`."""
    for option in reversed(
        (
            click.option(
                "--cells", type=int, metavar="1..8", help="Strength of blur and pixelate; fewer hide more.  [6]"
            ),
            click.option(
                "--sticker", metavar="NAME|FILE", help="Lay this over what is hidden: heart, smiley, star or a picture."
            ),
            click.option("--caption", metavar="TEXT", help="Text inside what is hidden; not for blur and pixelate."),
            click.option("--whole", is_flag=True, default=None, help="Cover the whole picture, whatever was found."),
            click.option(
                "--demo-styles", metavar="OUT", help="Write a sheet of every style, shape and strength; stop."
            ),
        )
    ):
        function = option(function)
    return function


def style_changes(options: dict[str, Any]) -> dict[str, Any]:
    """Return what these options say differently from the policy."""
    return {name: options[name] for name in STYLE_NAMES}


def wants_demo(options: dict[str, Any]) -> bool:
    """Write the sheet of styles if it was asked for, and return whether it was.

    Raises:
        UsageError: when pictures are named too.
    """
    target = options["demo_styles"]
    if target is None:
        return False
    if options["paths"]:
        raise UsageError(f"--demo-styles OUT must be given without pictures; got {options['paths'][0]!r}")
    from censor.demo import write_demo

    write_demo(target)
    return True
