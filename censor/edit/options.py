"""The editing round's options, and whether a command line asks for one. Nothing heavy is imported here."""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from detector.errors import UsageError

__all__ = ["edit_options", "paths_to_edit"]

F = TypeVar("F", bound=Callable[..., Any])

# Also a name that a file may have: see `paths_to_edit`.
WORD = "edit"

# What has no meaning while one person looks at one picture, and why.
_SAVES = "a save writes another file than IN, with everything hidden that is on the page"
_FOLDERS = "it is for folders"
_NOT_WITH_EDIT = {"in_place": _SAVES, "boxes": _SAVES, **dict.fromkeys(
    ("dry_run", "include", "exclude", "journal", "report"), _FOLDERS)}  # fmt: skip


def edit_options(function: F) -> F:
    """Add `--edit` and `--browser`."""
    for option in (
        click.option("--browser/--no-browser", default=True, help="With --edit: open the link, or only print it."),
        click.option("--edit", is_flag=True, help="Edit the boxes of IN in the browser, then save: IN [OUT]."),
    ):
        function = option(function)
    return function


def paths_to_edit(options: dict[str, Any]) -> tuple[str, ...] | None:
    """Return IN, or IN and OUT, of an editing round; None where the command line asks for none.

    `censor edit IN [OUT]` asks for one as `censor --edit IN [OUT]` does, as long as no file here is called `edit`.

    Raises:
        UsageError: when `edit` may mean either, when the paths are not one or two, or when an option does not go
            with editing.
    """
    paths: Sequence[str] = options["paths"]
    if not options["edit"]:
        if not paths or paths[0] != WORD:
            return None
        if os.path.lexists(WORD):
            raise UsageError(
                f"`{WORD}` must not mean two things; there is a file of that name here; say ./{WORD} for the file, or "
                "--edit IN [OUT] to edit a picture"
            )
        paths = paths[1:]
    if len(paths) not in (1, 2):
        raise UsageError(f"IN, and OUT if wanted, must be given to edit; got {len(paths)} paths")
    for name, why in _NOT_WITH_EDIT.items():
        if options["preview" if name == "boxes" else name]:
            raise UsageError(f"--{name.replace('_', '-')} must not be given with editing; {why}")
    return tuple(paths)
