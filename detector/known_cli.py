"""`detector known`: write down what a person decided about pictures, for near copies that come later."""

import json
from pathlib import Path
from typing import Any

import click

from detector.cliparts import printable
from detector.errors import InputError, UsageError

__all__ = ["known"]


@click.group()
def known() -> None:
    """Keep a list of your decisions about pictures; `censor --known LIST` recalls them for near copies.

    A near copy of something nsfw is always nsfw. One of something safe is looked at all the same, unless the policy
    says known = "trust" under [verdict]: then nothing looks at it, and nothing protects from what was pasted into it.
    A figure as high as a fifth of the picture can leave it a near copy, and hashes can be forged besides: trust only
    where nobody else puts pictures in. Mirrored, turned or cropped pictures and plain surfaces are never near copies.

    Each frame of an animation, and each frame of a video that is looked at, is held against the list: one nsfw makes
    the whole nsfw, and what was hidden in it is hidden around it; a safe one clears nothing.
    """


@known.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--to", "target", required=True, type=click.Path(), metavar="LIST", help="List to add to; made if new.")
@click.option("--decision", required=True, type=click.Choice(["safe", "nsfw"]), help="What you decided about all.")
def add(files: tuple[str, ...], target: str, decision: str) -> int:
    """Add pictures, or reports of `censor --json` and `--report`, to a list.

    From a report an nsfw entry takes the boxes that were to be hidden; a picture alone has none. The report of a moving
    picture gives an entry for each frame, or each sampled frame of a video, in which something was to be hidden.

    \b
    Examples:
      detector known add --decision safe --to known.jsonl beach.jpg
      censor --json in.jpg out.jpg > report.json
      detector known add --decision nsfw --to known.jsonl report.json
    """
    from detector.atomic import write_atomic
    from detector.known import KnownEntry, KnownList
    from detector.pdq import MIN_QUALITY

    entries: list[KnownEntry] = []
    for name in files:
        entries += _entries(name, decision)
    path = Path(target)
    old = b""
    if path.exists():
        KnownList.read(path)  # refuses what is no list before anything is written
        old = path.read_bytes()
        old += b"" if old.endswith(b"\n") or not old else b"\n"
    write_atomic(path, old + "".join(entry.to_json() + "\n" for entry in entries).encode("ascii"))
    weak = [entry for entry in entries if entry.pdq.quality < MIN_QUALITY]
    print(f"{len(entries)} added to {printable(target)} as {decision}")
    for entry in weak:
        print(
            f"detector: {printable(entry.note)} has too little detail for copies to be recognised (quality "
            f"{entry.pdq.quality}, at least {MIN_QUALITY} needed)"
        )
    return 0


def _entries(name: str, decision: str) -> list[Any]:
    """Return the entries of one file: a report's, or one of a picture."""
    from detector.known import KnownEntry, entries_of
    from detector.pdq import VIEW_SIDE, pdq_of
    from detector.picture import Picture

    try:
        with open(name, "rb") as file:
            start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    except OSError as error:
        raise InputError(f"{printable(name)} must be readable; it is not ({error.strerror or error})") from error
    if not start.startswith((b"{", b"[")):
        return [KnownEntry(pdq_of(Picture.open(name).views(VIEW_SIDE)[0]), decision, (), name)]
    try:
        records = _parse(Path(name).read_text(encoding="utf-8-sig"))
        done = [one for one in records if one.get("verdict") != "error" and "skipped" not in one]
        hashed = [one for one in done if not _without_hash(one)]
        entries = entries_of(hashed, decision)
    except UsageError as error:
        raise InputError(f"{printable(name)}: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
        raise InputError(f"{printable(name)} must be a picture, or a report as `censor --json` writes it") from error
    for one in done:
        if _without_hash(one):
            why = "is a video" if one.get("kind") == "video" else "was not censored anew in that run"
            click.echo(f"detector: {printable(str(one.get('source')))} {why} and has no hash: not added", err=True)
    return entries


def _without_hash(record: Any) -> bool:
    """Whether a report need not hold a hash: of a video, and of a folder's file that was done before or copied."""
    return record.get("pdq") is None and (record.get("kind") == "video" or "journal" in record)


def _parse(text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return value if isinstance(value, list) else [value]
