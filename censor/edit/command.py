"""`censor edit`: put the round together, open the page, and say how it ended."""

import os
import sys
import threading
import webbrowser
from collections.abc import Mapping
from typing import Any

from censor.api import build_pipeline
from censor.edit.editing import Editing, target_beside
from censor.edit.server import EditServer
from censor.imagefile import format_for
from censor.jobs import STREAM
from censor.report import MaskFile, Report
from detector.cliparts import printable
from detector.errors import OutputError, UsageError
from detector.picture import Limits, Picture

__all__ = ["run_edit"]


def run_edit(paths: tuple[str, ...], options: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
    """Serve one editing round until it ends.

    Nothing is written before a person saves. The link is also an argument of the browser's process, which other users
    of this machine may see in their list of processes before the page has used it: `--no-browser` keeps it off there.

    Args:
        paths: IN, or IN and OUT. Without OUT the result goes beside IN, as `photo.censored.jpg`; the boxes go to
            OUT's name with `.json` behind it, as `--mask` reads them.
        options: the command line's, by name.
        changes: what it says differently from the policy, for `build_pipeline`.

    Returns:
        The exit code of the last save: 0, or 3 when a person should look.

    Raises:
        UsageError: when a path cannot be edited.
        InputError: when the picture cannot be read or is refused.
        OutputError: when the round ended without a save.
    """
    source = paths[0]
    if STREAM in paths:
        raise UsageError("editing must be given files; got -")
    if os.path.isdir(source):
        raise UsageError(f"IN must be a picture; {source} is a folder; edit its pictures one by one")
    if len(paths) > 1:
        format_for(paths[1])  # refused before a model is loaded
    limits = Limits(max_bytes=options["max_bytes"], max_pixels=options["max_pixels"], max_side=options["max_side"])
    picture = Picture.open(source, limits=limits)
    target = paths[1] if len(paths) > 1 else target_beside(source, picture)
    if os.path.isdir(target):
        target = os.path.join(target, os.path.basename(source))
    mask = MaskFile.read(options["mask"]) if options["mask"] else None
    pipeline = build_pipeline(
        options["policy"],
        model=options["model"],
        device=options["device"],
        verify=options["verify"],
        known=options["known"],
        **changes,
    )
    editing = Editing(pipeline, picture, target, mask)
    server = EditServer(editing, lambda report: _say(report, options))
    _open(server.url, options, source)
    try:
        server.serve()
    except KeyboardInterrupt:
        if editing.last is None:
            raise
    if editing.last is None:
        raise OutputError("an editing round must be saved to give a result; it was ended without; nothing was written")
    if options["as_json"]:
        print(editing.last.to_json(), flush=True)
    return editing.last.exit_code


def _open(url: str, options: Mapping[str, Any], source: str) -> None:
    """Print the link, and open it where that is wanted; the server listens already."""
    print(f"censor: edit {printable(source)} at {url} (once; Ctrl-C ends)", file=sys.stderr, flush=True)
    if options["browser"]:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _say(report: Report, options: Mapping[str, Any]) -> None:
    if not options["quiet"]:
        print(report.summary(), file=sys.stderr, flush=True)
    for warning in report.warnings:
        print(f"censor: look at {printable(report.target or report.source)}: {warning}", file=sys.stderr, flush=True)
