"""Which input becomes which output: `IN OUT`, `IN... OUTDIR/`, `- -`, `--in-place IN`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detector.errors import OutputError, UsageError

__all__ = ["STREAM", "Job", "make_folder", "plan_jobs", "same_file"]

# Standard input in the place of IN, standard output in the place of OUT.
STREAM = "-"


@dataclass(frozen=True)
class Job:
    """One picture to censor: where it comes from and where the result goes; `-` is a standard stream."""

    source: str
    target: str


def plan_jobs(paths: Sequence[str], *, in_place: bool = False) -> list[Job]:
    """Turn the command line's paths into jobs, or refuse all of them before anything is read or written.

    Raises:
        UsageError: when there is no output, several inputs have no folder to go to, two results would have one name,
            an input is a folder, or an output is an input and `in_place` is not set.
    """
    if in_place:
        job = _in_place(paths)
        _check_format(job.target)
        return [job]
    if len(paths) < 2:
        raise UsageError(f"IN and OUT must be given; got {len(paths)} path{'s' if len(paths) != 1 else ''}")
    *sources, target = paths
    for source in sources:
        if source != STREAM and os.path.isdir(source):
            raise UsageError(f"a folder must be the only IN, and OUT a folder too; got {source} among others")
    into_folder = target != STREAM and (os.path.isdir(target) or target.endswith(("/", os.sep)))
    if into_folder:
        jobs = _into_folder(sources, target)
    elif len(sources) == 1:
        jobs = [Job(sources[0], target)]
        _check_format(target)
    else:
        raise UsageError(f"several pictures must go to a folder; {target} is none; end its name with / to make one")
    for job in jobs:
        if STREAM not in (job.source, job.target) and same_file(job.source, job.target):
            raise UsageError(f"OUT must be another file than IN; both are {job.source}; --in-place replaces it")
    return jobs


def _check_format(target: str) -> None:
    """Refuse a name that no format has before a model is loaded."""
    from censor.imagefile import format_for
    from censor.video.codecs import is_video_name

    if not is_video_name(target):
        format_for(target)


def make_folder(paths: Sequence[str]) -> None:
    """Make the folder that the results go to, if the command line names one that is not there yet.

    Raises:
        OutputError: when it cannot be made.
    """
    if len(paths) > 1 and paths[-1].endswith(("/", os.sep)):
        try:
            os.makedirs(paths[-1], exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder {paths[-1]} must be there or be made; {error.strerror}") from error


def _in_place(paths: Sequence[str]) -> Job:
    if not paths or STREAM in paths:
        raise UsageError("--in-place must be given one picture file; got none")
    if len(paths) > 2 or (len(paths) == 2 and paths[0] != paths[1] and not same_file(paths[0], paths[1])):
        raise UsageError(f"--in-place must be given one picture, and OUT the same or left out; got {' '.join(paths)}")
    return Job(paths[0], paths[0])


def _into_folder(sources: Sequence[str], folder: str) -> list[Job]:
    if STREAM in sources:
        raise UsageError(f"standard input has no name to write into the folder {folder}; name an output file")
    jobs: dict[str, Job] = {}
    for source in sources:
        target = os.path.join(folder, Path(source).name)
        # Some file systems hold one file for names that differ in case only.
        key = target.casefold()
        if key in jobs:
            raise UsageError(
                f"each result must have a name of its own; {jobs[key].source} and {source} would both become {target}"
            )
        jobs[key] = Job(source, target)
    return list(jobs.values())


def same_file(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file, through links too."""
    try:
        return os.path.samefile(source, target)
    except OSError:
        return False
