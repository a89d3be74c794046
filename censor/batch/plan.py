"""Which file of a tree becomes which file of another; what cannot work is said before any work."""

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from censor.imagefile import EXTENSIONS
from censor.video.codecs import is_video_name
from detector.cliparts import printable
from detector.errors import OutputError, UsageError
from detector.folders import VIDEO, Entry, Patterns, walk

__all__ = ["Item", "Plan", "check_folders", "make_parents", "plan_folder", "strays"]

# What a file is called whose name does not say what it is.
SUFFIX_OF = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "AVIF": ".avif",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "GIF": ".gif",
    "HEIF": ".heic",
    VIDEO: ".mp4",
}


@dataclass(frozen=True)
class Item:
    """One file to censor.

    Attributes:
        source, target: paths.
        relative, target_relative: the same below the two roots, with `/` on every system.
        kind: of the source, by content: Pillow's name of a picture's format, or `VIDEO`.
    """

    source: str
    relative: str
    target: str
    target_relative: str
    kind: str


@dataclass(frozen=True)
class Plan:
    """What is to be done with a folder.

    Attributes:
        source, target: the two roots, as given.
        items: pictures and videos, in the tree's order.
        skipped: what is passed over, with the reason.
        failed: what could not be read.
        there: what lies in the target already, sorted: links and files, below it as an item's `target_relative`.
    """

    source: str
    target: str
    items: tuple[Item, ...]
    skipped: tuple[Entry, ...]
    failed: tuple[Entry, ...]
    there: tuple[str, ...] = ()


def plan_folder(source: str, target: str, patterns: Patterns | None = None) -> Plan:
    """Look through a folder and name every result.

    A result keeps its place and its name. Where the name says another format than the content, the suffix becomes the
    content's; where it says none, that is added. Files whose results would have one name on some system have failed.

    Raises:
        UsageError: when the folders overlap, or a result would be written outside the target.
    """
    check_folders(source, target)
    entries = list(walk(source, patterns))
    _check_entries(entries, source, target)
    items = tuple(_item(entry, target) for entry in entries if entry.kind is not None)
    clashes = {item.relative: why for item, why in _clashes(items)}
    entries = [
        Entry(entry.path, entry.relative, failed=clashes[entry.relative]) if entry.relative in clashes else entry
        for entry in entries
    ]
    items = tuple(item for item in items if item.relative not in clashes)
    _check_places(items, target)
    return Plan(
        source=source,
        target=target,
        items=items,
        skipped=tuple(entry for entry in entries if entry.skipped is not None),
        failed=tuple(entry for entry in entries if entry.failed is not None),
        there=tuple(sorted(_files_in(target))),
    )


def check_folders(source: str, target: str) -> None:
    """Refuse two folders one of which lies in the other, or that are one: results would become input, or replace it.

    Raises:
        UsageError: for these, and where the target is a file.
    """
    shown = f"{printable(source)} and {printable(target)}"
    if os.path.lexists(target) and not os.path.isdir(target):
        raise UsageError(f"a folder's results must go to a folder; {printable(target)} is none; name another")
    if _same(source, target):
        raise UsageError(f"OUT must be another folder than IN; both are {shown.split(' and ')[0]}; name another")
    if any(_same(source, parent) for parent in _parents(target)):
        raise UsageError(f"OUT must not lie in IN: results would become input; got {shown}; name a folder beside it")
    if any(_same(target, parent) for parent in _parents(source)):
        raise UsageError(f"IN must not lie in OUT: results might replace it; got {shown}; name a folder beside it")


def _check_entries(entries: list[Entry], source: str, target: str) -> None:
    """Refuse what `check_folders` cannot see: a target that lies in the source by a mount, as containers have them."""
    for folder in sorted({folder for entry in entries for folder in _folders(entry.relative)}):
        place = os.path.join(source, *folder.split("/"))
        if _same(place, target):
            raise UsageError(
                f"OUT must not lie in IN: results would become input; {printable(place)} is {printable(target)} by "
                "another way; name a folder beside it"
            )


def _item(entry: Entry, target: str) -> Item:
    assert entry.kind is not None
    relative = _named(entry.relative, entry.kind)
    return Item(entry.path, entry.relative, os.path.join(target, *relative.split("/")), relative, entry.kind)


def _named(relative: str, kind: str) -> str:
    path = PurePosixPath(relative)
    says = VIDEO if is_video_name(path) else EXTENSIONS.get(path.suffix.lower())
    if says == kind:
        return relative
    return str(path.with_suffix(SUFFIX_OF[kind])) if says else relative + SUFFIX_OF[kind]


def _clashes(items: tuple[Item, ...]) -> Iterator[tuple[Item, str]]:
    """Yield what would share a name on a system which ignores case (Windows, macOS) or how accents are written (macOS).

    All that share one: which of them the result is of, nobody could tell.
    """
    named: dict[str, list[Item]] = {}
    for item in items:
        named.setdefault(_key(item.target_relative), []).append(item)
    folders = {_key(folder) for item in items for folder in _folders(item.target_relative)}
    for key, same in named.items():
        for item in same:
            becomes = f"this would become {printable(item.target_relative)}"
            if len(same) > 1:
                other = same[0] if item is not same[0] else same[1]
                yield (
                    item,
                    (
                        f"each result must have a name of its own; {becomes}, and so would {printable(other.relative)} "
                        "(case and accents' spelling do not count); rename one"
                    ),
                )
            elif key in folders:
                yield item, f"a result must not have a folder's name; {becomes}, which is a folder; rename one"


def make_parents(target: str) -> None:
    """Make the folder of a result.

    Raises:
        OutputError: when it cannot be made.
    """
    try:
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder of {target} must be there or be made; {error.strerror}") from error


def strays(target: str, relative: str) -> str | None:
    """Return where the folder of a result leads, when that is not its own place below the target; None when it is.

    By a link, it may lead to the pictures themselves or to other results; by a journal's line, anywhere.
    """
    place = os.path.join(os.path.realpath(target), *relative.split("/")[:-1])
    real = os.path.realpath(place)
    return None if os.path.normcase(real) == os.path.normcase(place) else real


def _check_places(items: tuple[Item, ...], target: str) -> None:
    """Refuse to write through a link in the target."""
    for folder, item in {os.path.dirname(item.target): item for item in items}.items():
        real = strays(target, item.target_relative)
        if real is not None:
            raise UsageError(
                f"results must stay in {printable(target)}, each at its place; {printable(folder)} leads to "
                f"{printable(real)}; remove that link"
            )


def _files_in(target: str) -> Iterator[str]:
    """Yield what lies in a folder, by its path below it with `/` between folders; nothing where there is none."""
    for folder, folders, files in os.walk(target):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*files, *links):
            yield os.path.relpath(os.path.join(folder, name), target).replace(os.sep, "/")


def _folders(relative: str) -> Iterator[str]:
    return (str(parent) for parent in PurePosixPath(relative).parents if str(parent) != ".")


def _key(relative: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", relative).casefold())


def _parents(path: str) -> Iterator[str]:
    """Yield the folders above a path, links resolved, that need not be there itself."""
    at = os.path.realpath(path)
    while (above := os.path.dirname(at)) != at:
        yield above
        at = above


def _same(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:
        return os.path.realpath(first) == os.path.realpath(second)
