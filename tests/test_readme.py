"""What the README shows is typed here as it stands."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from censor.cli import main as censor_main
from detector.cli import main as detector_main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def lines(*, starting_with: str) -> list[str]:
    shell = "\n".join(blocks("sh"))
    return [line.split("  #")[0].strip() for line in shell.splitlines() if line.startswith(starting_with)]


@pytest.fixture
def folder(tmp_path: Path, example: Path, mannequins: list[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out what the README's commands expect: in.jpg, photos/, and the two commands on the path."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "censored").mkdir()
    shutil.copy(example, tmp_path / "in.jpg")
    for path in mannequins[:2]:
        shutil.copy(path, tmp_path / "photos")
    shutil.copytree(mannequins[0].parent, tmp_path / "tests" / "data" / "mannequins")
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("censor", "detector"):
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from {name}.cli import main; main()" "$@"\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


each_python_block = pytest.mark.parametrize("number", range(len(blocks("python"))))


@each_python_block
def test_python_blocks_run(folder: Path, number: int) -> None:
    exec(compile(blocks("python")[number], "README.md", "exec"), {"__name__": "__main__"})


@pytest.mark.slow
@each_python_block
def test_python_blocks_run_on_their_own(folder: Path, number: int) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", blocks("python")[number]], check=True, timeout=60)


COMMANDS = [*lines(starting_with="censor "), *lines(starting_with="detector ")]


def type_in(command: str) -> None:
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def test_first_commands_run(folder: Path) -> None:
    """In this process; a shell runs these and all others in the slow part."""
    for start in ("censor in.jpg out.jpg", "detector detect", "detector classify"):
        program, *arguments = shlex.split(next(command for command in COMMANDS if command.startswith(start)))
        with pytest.raises(SystemExit) as stop:
            {"censor": censor_main, "detector": detector_main}[program](arguments)
        assert not stop.value.code, start


@pytest.mark.slow
def test_commands_run(folder: Path) -> None:
    assert len(COMMANDS) == 14
    for command in COMMANDS:
        type_in(command)
    assert sorted(os.listdir("censored")) == sorted(os.listdir("photos"))


def test_the_two_install_commands_are_where_ci_looks_for_them() -> None:
    marked = re.findall(r"<!-- ci: begin -->\n```sh\n(.*?)\n```\n<!-- ci: end -->", README)
    assert marked == [
        "pip install '.[nudenet]' && censor examples/in.jpg out.jpg",
        "pip install -e '.[dev,nudenet]' && make check",
    ]


def test_every_file_that_is_linked_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
