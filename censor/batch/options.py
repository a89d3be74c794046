"""The options of `censor` for whole folders, and for what a person decided before."""

from typing import Any

import click

from detector.cliparts import F
from detector.errors import UsageError

__all__ = ["folder_options", "refuse_folder_options"]

_FOR_FOLDERS = ("include", "exclude", "dry_run", "journal", "report")


def folder_options(function: F) -> F:
    """Add `--include`, `--exclude`, `--dry-run`, `--journal`, `--report` and `--known`."""
    for option in reversed(
        (
            click.option(
                "--include",
                multiple=True,
                metavar="GLOB",
                help="Folder: only files that match, by name, or with a / by their path below IN; repeatable.",
            ),
            click.option(
                "--exclude", multiple=True, metavar="GLOB", help="Folder: no files or folders that match likewise."
            ),
            click.option("--dry-run", is_flag=True, help="Folder: say what would be done, and write nothing."),
            click.option(
                "--journal",
                type=click.Path(),
                metavar="FILE",
                help="Folder: what is done already; a run goes on from it.  [in OUT]",
            ),
            click.option(
                "--report", type=click.Path(), metavar="FILE", help="Folder: one JSON line a file, at the end."
            ),
            click.option(
                "--known",
                type=click.Path(),
                metavar="FILE",
                help="Your decisions about near copies, of frames too; safe ones are looked at all the same, but "
                'for pictures where the policy says known = "trust": see detector known --help.',
            ),
        )
    ):
        function = option(function)
    return function


def refuse_folder_options(options: dict[str, Any]) -> None:
    """Refuse what says nothing about single files.

    Raises:
        UsageError: when one of these options is given.
    """
    given = [name for name in _FOR_FOLDERS if options[name]]
    if given:
        raise UsageError(f"--{given[0].replace('_', '-')} must be given with a folder, as in `censor photos/ clean/`")
