"""The body asset: one compressed array file with the adult blend shapes, the skeleton and the vertex groups."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import ModelError
from detector.paths import weights_dir
from detector.synth.phenotype import ADULT_WORDS

__all__ = ["ASSET_NAME", "ASSET_SHA256", "SHAPE_STEP", "Asset", "pack_asset", "read_asset"]

ASSET_NAME = "body.npz"
# Of the file in `weights/`. Names of blend shapes can be kept while what they hold is changed: only the very file whose
# bodies were looked at and measured is known to hold adults, so no other one is rendered from.
ASSET_SHA256 = "d4f70a6806f523a467c53a7926e3a16c4c1e15797b730facfd7ad82d0679392a"
# Offsets are whole tenths of a millimetre, as in the source files: exact, and smaller than float16, which would round
# to half a millimetre where an offset is large.
SHAPE_STEP = 1e-4
_VERSION = 1
# Zip has no earlier date: with the real one two builds would never be equal.
_DATE = (1980, 1, 1, 0, 0, 0)
_LEVEL = 9


@dataclass(frozen=True, kw_only=True)
class Asset:
    """What the file holds, unpacked.

    `N` vertices of the base mesh, `J` joints, `K` macro and `L` local blend shapes, `V` vertices split at seams.

    Attributes:
        template: (N + J, 3) float32 metres: the body that all offsets start from, then the joint centres.
        macro: (K, N + J, 3) int16 offsets in `SHAPE_STEP`.
        macro_names: K names for `macro_weights`.
        local: (L, 2, N + J, 3) int16: positive and negative side of each local change.
        local_names: L names.
        joints: J names, parents first.
        parents: (J,) int16, -1 for the root.
        weights: (N, J) float32 skinning weights, rows summing to 1.
        source: (V,) int32 base vertex of each split vertex.
        uv: (V, 2) float32.
        body, eyes, male: (F, 4) int32 quads of split vertices: skin, eyeballs, male external anatomy.
        regions: (N,) bool by name.
        masks: (V,) float32 in [0, 1] by name, from the texture masks.
        provenance: where it comes from and under what terms.
    """

    template: NDArray[np.float32]
    macro: NDArray[np.int16]
    macro_names: tuple[str, ...]
    local: NDArray[np.int16]
    local_names: tuple[str, ...]
    joints: tuple[str, ...]
    parents: NDArray[np.int16]
    weights: NDArray[np.float32]
    source: NDArray[np.int32]
    uv: NDArray[np.float32]
    body: NDArray[np.int32]
    eyes: NDArray[np.int32]
    male: NDArray[np.int32]
    regions: Mapping[str, NDArray[np.bool_]]
    masks: Mapping[str, NDArray[np.float32]]
    provenance: Mapping[str, Any]


def _split_bytes(values: NDArray[np.int16]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return low and high bytes apart, axis by axis: they compress far better so."""
    pairs = np.ascontiguousarray(np.moveaxis(values, -1, -2)).astype("<i2").view(np.uint8)
    pairs = pairs.reshape(*pairs.shape[:-1], -1, 2)
    return pairs[..., 0], pairs[..., 1]


def _join_bytes(low: NDArray[np.uint8], high: NDArray[np.uint8]) -> NDArray[np.int16]:
    values = low.astype(np.int16) | (high.astype(np.int16) << 8)
    return np.ascontiguousarray(np.moveaxis(values, -2, -1))


def pack_asset(asset: Asset) -> bytes:
    """Return the file: `.npz` without pickled objects; equal assets give equal bytes."""
    text = {
        "version": _VERSION,
        "macro_names": asset.macro_names,
        "local_names": asset.local_names,
        "joints": asset.joints,
        "regions": list(asset.regions),
        "masks": list(asset.masks),
        "provenance": dict(asset.provenance),
    }
    rows, columns = np.nonzero(asset.weights)
    macro, local = _split_bytes(asset.macro), _split_bytes(asset.local)
    arrays = {
        "text": np.frombuffer(json.dumps(text, sort_keys=True).encode(), dtype=np.uint8),
        "template": asset.template.astype("<f4"),
        "macro_low": macro[0],
        "macro_high": macro[1],
        "local_low": local[0],
        "local_high": local[1],
        "parents": asset.parents.astype("<i2"),
        "weight_counts": np.bincount(rows, minlength=len(asset.weights)).astype(np.uint8),
        "weight_joints": columns.astype(np.uint8),
        "weight_values": asset.weights[rows, columns].astype("<f2"),
        "source": asset.source.astype("<u2"),
        "uv": np.round(asset.uv * 65535).astype("<u2"),
        "body": asset.body.astype("<u2"),
        "eyes": asset.eyes.astype("<u2"),
        "male": asset.male.astype("<u2"),
        "region_bits": np.packbits(np.stack(list(asset.regions.values())), axis=1),
        "mask_bytes": np.round(np.stack(list(asset.masks.values())) * 255).astype(np.uint8),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, part.getvalue(), compresslevel=_LEVEL)
    return out.getvalue()


def read_asset(path: str | os.PathLike[str] | None = None) -> Asset:
    """Read a body asset.

    Args:
        path: of the file; None for the one in `weights/`, which has to be the very one that this version knows.

    Raises:
        ModelError: when it is missing or not such a file, when a stored blend shape is not an adult's, or when the one
            in `weights/` is another one than `ASSET_SHA256` names.
    """
    file = weights_dir() / ASSET_NAME if path is None else path
    try:
        # Read whole first: numpy leaves the file open when it is no archive.
        content = Path(file).read_bytes()
        if path is None:
            _check_known(content, Path(file))
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        text = json.loads(arrays["text"].tobytes())
        if text["version"] != _VERSION:
            raise ModelError(
                f"the body asset must be of version {_VERSION}; {file} is of {text['version']}; build it anew"
            )
        _check_adult(text["macro_names"])
        return _unpack(arrays, text)
    except ModelError:
        raise
    except Exception as error:  # a damaged archive raises zlib's, zipfile's and numpy's errors of many kinds
        raise ModelError(
            f"the body asset must be readable; {file} is not ({error}); "
            "build it with python -m detector.synth.build_asset"
        ) from error


def _check_known(content: bytes, file: Path) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != ASSET_SHA256:
        raise ModelError(
            f"mannequins are adults only: the body asset must be the one with sha256 {ASSET_SHA256}; {file} has "
            f"{found}; restore it from the checkout"
        )


def _check_adult(names: list[str]) -> None:
    for name in names:
        words = name.split("-")
        strange = sorted(set(words) - ADULT_WORDS)
        if strange or not {"young", "old"} & set(words):
            raise ModelError(f"every blend shape must be an adult's; {name!r} is not known to be; build the asset anew")


def _unpack(arrays: Mapping[str, np.ndarray], text: Mapping[str, Any]) -> Asset:
    joints = tuple(text["joints"])
    counts = arrays["weight_counts"]
    count = len(counts)
    weights = np.zeros((count, len(joints)), dtype=np.float32)
    weights[np.repeat(np.arange(count), counts), arrays["weight_joints"]] = arrays["weight_values"]
    weights /= weights.sum(axis=1, keepdims=True)
    bits = np.unpackbits(arrays["region_bits"], axis=1, count=count).astype(bool)
    masks = arrays["mask_bytes"].astype(np.float32) / 255
    return Asset(
        template=arrays["template"].astype(np.float32),
        macro=_join_bytes(arrays["macro_low"], arrays["macro_high"]),
        macro_names=tuple(text["macro_names"]),
        local=_join_bytes(arrays["local_low"], arrays["local_high"]),
        local_names=tuple(text["local_names"]),
        joints=joints,
        parents=arrays["parents"].astype(np.int16),
        weights=weights,
        source=arrays["source"].astype(np.int32),
        uv=(arrays["uv"] / 65535).astype(np.float32),
        body=arrays["body"].astype(np.int32),
        eyes=arrays["eyes"].astype(np.int32),
        male=arrays["male"].astype(np.int32),
        regions=dict(zip(text["regions"], bits, strict=True)),
        masks=dict(zip(text["masks"], masks, strict=True)),
        provenance=text["provenance"],
    )
