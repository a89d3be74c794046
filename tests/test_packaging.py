"""The wheel: what it installs, what it must not hold, and that it works beside foreign folders of our names."""

import configparser
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    # A copy, so that setuptools writes no build/ and egg-info beside the sources.
    for name in files:
        if name and not name.startswith("tests/") and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    # What pip asks of setuptools, without the second that pip takes to ask.
    code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, cwd=source, capture_output=True)
    return next(folder.glob("*.whl"))


def test_every_package_is_listed() -> None:
    """A folder that setup.cfg forgets works in a checkout and is missing in a wheel."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    there = {".".join(path.parent.relative_to(ROOT).parts) for top in ("detector", "censor")
             for path in ROOT.glob(f"{top}/**/__init__.py")}  # fmt: skip
    assert listed - {"detector.configs", "detector.weights"} == there


def test_top_level_names(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"detector", "censor"}
    for needed in (
        "detector/configs/policies/default.toml",
        "detector/configs/policies/strict.toml",
        "detector/weights/manifest.json",
        "detector/py.typed",
        "censor/py.typed",
        "censor/edit/page.html",
        "censor/edit/page.js",
        "detector/weights/body.npz",
        "detector/weights/body_regions.json",
        *OURS,
        "detector/weights/open_nsfw-BSD-2-Clause.txt",
    ):
        assert needed in names


# The one network in the wheel; its manifest entry says what it was taught on, and its licence.
OURS = ("detector/weights/retinanet-thin.onnx",)


def test_no_agpl_or_gpl_file_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            assert name in OURS or not name.endswith((".onnx", ".pt", ".pth", ".pkl", ".h5", ".exe", ".so"))
            text = archive.read(name)
            assert b"GNU AFFERO GENERAL PUBLIC LICENSE\n" not in text
            assert b"GNU GENERAL PUBLIC LICENSE\n" not in text


ASK_FOR_PATHS = (
    "import detector.paths as p; print(p.configs_dir(), p.weights_dir()); "
    "from censor import load_censor_policy; print(load_censor_policy('strict').policy.label)"
)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Make a folder that holds somebody else's configs, weights, tests and cli."""
    foreign = tmp_path / "foreign"
    for name in ("configs", "weights", "tests"):
        (foreign / name).mkdir(parents=True)
        (foreign / name / "__init__.py").write_text("raise SystemExit('a foreign folder was imported')\n")
    (foreign / "cli.py").write_text("raise SystemExit('a foreign cli.py was imported')\n")
    (foreign / "setup.cfg").write_text("[metadata]\nname = other\n")
    return foreign


def run_in(folder: Path, *command: str, **environment: str) -> str:
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env={**kept, **environment}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_unpacked_it_finds_its_own_files_among_foreign_ones(wheel: Path, foreign: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = f"{ASK_FOR_PATHS}; from censor.cli import main; main()"
    out = run_in(foreign, sys.executable, "-c", code, "--help", PYTHONPATH=str(site))
    assert str(site / "detector" / "configs") in out
    assert "strict@1" in out
    assert "censor in.jpg out.jpg" in out


@pytest.mark.slow
def test_it_runs_from_a_folder_with_foreign_configs(wheel: Path, foreign: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)],
        check=True,
    )
    site = next(venv.glob("lib/python*/site-packages"))
    # The dependencies of the environment that runs the tests, and nothing of its editable installs.
    (site / "deps.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert "censor in.jpg out.jpg" in run_in(foreign, str(venv / "bin" / "censor"), "--help")
    assert "detect" in run_in(foreign, str(venv / "bin" / "detector"), "--help")
    where = run_in(foreign, str(python), "-c", ASK_FOR_PATHS)
    assert str(site / "detector" / "configs") in where
    assert "strict@1" in where
