"""What the two command lines share: common options, one-line errors, exit codes."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO, TypeVar

import click

from detector.errors import RetinaCensorError, UsageError

__all__ = [
    "EPILOG_EXIT_CODES",
    "EXIT_FAILED",
    "F",
    "Say",
    "device_option",
    "failure_text",
    "limits_options",
    "parse_thresholds",
    "printable",
    "progress",
    "run_command",
    "split_names",
    "tiles_option",
    "workers_option",
]

F = TypeVar("F", bound=Callable[..., Any])

EPILOG_EXIT_CODES = (
    "Exit codes: 0 written and verified, 1 some file failed, 2 wrong usage, 3 written but a person should look."
)

# Ctrl-C, as shells report it: 128 + SIGINT.
EXIT_INTERRUPTED = 130
EXIT_FAILED, EXIT_USAGE = 1, 2

device_option = click.option("--device", default="cpu", metavar="cpu|cuda", help="Where the models run.  [cpu]")
tiles_option = click.option(
    "--tiles/--no-tiles", default=None, help="Look in overlapping tiles too: slower, finds small parts.  [policy]"
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=lambda: os.cpu_count() or 1,
    metavar="N",
    help="Pictures worked on at a time.  [one a core]",
)


def limits_options(function: F) -> F:
    """Add `--max-bytes`, `--max-pixels` and `--max-side`."""
    for name, default, what in (
        ("--max-side", 20_000, "Largest width or height accepted"),
        ("--max-pixels", 50_000_000, "Most pixels accepted"),
        ("--max-bytes", 100 << 20, "Largest picture file accepted"),
    ):
        option = click.option(name, type=click.IntRange(1), default=default, metavar="N", help=f"{what}.  [{default}]")
        function = option(function)
    return function


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Split `A,B` into names; None stays None, and an empty list is an error."""
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise UsageError(f"--classes must name at least one class; got {text!r}")
    return names


def parse_thresholds(values: tuple[str, ...]) -> tuple[float | None, dict[str, float]]:
    """Parse `0.3` and `CLASS=0.3` into the common threshold and those of single classes."""
    common: float | None = None
    by_class: dict[str, float] = {}
    for value in values:
        name, equals, number = value.rpartition("=")
        try:
            score = float(number)
        except ValueError as error:
            raise UsageError(f"--thresh must be a number or CLASS=number; got {value!r}") from error
        if equals and name in by_class:
            raise UsageError(f"--thresh must name a class once; got {name} again")
        if equals:
            by_class[name] = score
        else:
            common = score
    return common, by_class


class Say(Protocol):
    """Prints a line without spoiling the progress bar; None instead of a line moves the bar on by one."""

    def __call__(self, line: str | None, file: TextIO | None = None) -> None:
        """Print to `file`, or to standard error."""
        ...


@contextmanager
def progress(total: int, *, quiet: bool = False) -> Iterator[Say]:
    """Yield what prints the lines about `total` pictures, with a bar for more than one where somebody can see it."""
    if total < 2 or quiet or not sys.stderr.isatty():

        def plain(line: str | None, file: TextIO | None = None) -> None:
            if line is not None:
                print(line, file=file or sys.stderr, flush=True)

        yield plain
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="picture", file=sys.stderr, leave=False) as bar:

        def above(line: str | None, file: TextIO | None = None) -> None:
            if line is None:
                bar.update()
                return
            target = file or sys.stderr
            if target.isatty():
                tqdm.write(line, file=target)
            else:
                print(line, file=target, flush=True)

        yield above


def failure_text(source: str, error: Exception) -> str:
    """Return the one line that says which picture failed and why."""
    message = str(error).removeprefix(f"{source}: ")
    if isinstance(error, OSError) and not isinstance(error, RetinaCensorError):
        message = f"the stream or file must be usable; {error.strerror or error}"
    elif not isinstance(error, RetinaCensorError):
        message = f"unexpected {type(error).__name__}: {message}; nothing was written; please report this"
    return f"{printable(source)}: {printable(' '.join(message.split()))}"


def printable(text: str) -> str:
    """Return a text for one line of a terminal: what would break the line or steer the terminal is escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def run_command(command: click.Command, name: str, argv: list[str] | None) -> int:
    """Run a click command; print any error as one line and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # any file name can be printed, on any terminal
            stream.reconfigure(errors="backslashreplace")
    try:
        code = command.main(args=argv, prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        print(f"{name}: interrupted; nothing half-written is left", file=sys.stderr)
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        return _fail(name, f"{error.format_message()} Try `{name} --help`.", EXIT_USAGE)
    except UsageError as error:
        return _fail(name, str(error), EXIT_USAGE)
    except RetinaCensorError as error:
        return _fail(name, str(error), EXIT_FAILED)
    except (OSError, UnicodeError) as error:  # standard output is full, closed, or cannot show a name
        return _fail(name, f"standard output must be writable; {error}", EXIT_FAILED)
    return code if isinstance(code, int) else 0


def _fail(name: str, message: str, code: int) -> int:
    print(f"{name}: error: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code
