"""Posing: a rotation for each joint, carried down the skeleton, and linear blend skinning."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.errors import UsageError
from detector.nearest import nearest

__all__ = ["joint_transforms", "rotation_matrices", "rotation_table", "skin"]

Doubles = NDArray[np.float64]
_ORTHOGONAL = 1e-4


def rotation_matrices(axis_angle: ArrayLike) -> Doubles:
    """Turn axis-angle vectors into rotation matrices.

    Args:
        axis_angle: (..., 3) the axis, its length the angle in radians.

    Returns:
        (..., 3, 3) float64 matrices that act on column vectors.

    Source:
        Rodrigues' formula.
    """
    vector = np.asarray(axis_angle, dtype=np.float64)
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vector, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*vector.shape[:-1], 3, 3)
    # sin(t)/t and (1 - cos(t))/t^2 without a division by zero.
    turned: Doubles = (
        np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * (cross @ cross)
    )
    return turned


def rotation_table(joints: tuple[str, ...], rotations: Mapping[str, ArrayLike]) -> Doubles:
    """Return (J, 3, 3), the rotation of every joint; joints that are not named stay at rest.

    Raises:
        UsageError: for an unknown joint, or a rotation that is not three finite numbers.
    """
    vectors = np.zeros((len(joints), 3))
    for name, rotation in rotations.items():
        if name not in joints:
            raise UsageError(f"a rotation must name a joint; there is no {name!r}{nearest(name, joints)}")
        vector = np.asarray(rotation, dtype=np.float64)
        if vector.shape != (3,) or not np.isfinite(vector).all():
            raise UsageError(
                f"the rotation of {name} must be three finite numbers (axis times angle); got {rotation!r}"
            )
        vectors[joints.index(name)] = vector
    return rotation_matrices(vectors)


def joint_transforms(
    heads: NDArray[np.floating], parents: NDArray[np.integer], turns: Doubles, root: ArrayLike
) -> Doubles:
    """Return what each joint does to the points that hang on it.

    A joint turns about its head, in the axes of the rest pose, and then everything above it turns it again.

    Args:
        heads: (J, 3) metres, centres of the joints of the shaped body at rest.
        parents: (J,) rows, -1 for the root; parents come first.
        turns: (J, 3, 3) as from `rotation_table`.
        root: (3, 3) rotation of the whole body about the root joint.

    Returns:
        (J, 3, 4) affine maps of rest points to posed points.

    Raises:
        UsageError: if `root` is not a rotation.
    """
    first = np.asarray(root, dtype=np.float64)
    if (
        first.shape != (3, 3)
        or not np.allclose(first @ first.T, np.eye(3), atol=_ORTHOGONAL)
        or np.linalg.det(first) < 0
    ):
        raise UsageError(f"root must be a (3, 3) rotation matrix; got {np.asarray(root).tolist()}")
    maps = np.empty((len(heads), 3, 4))
    for joint, parent in enumerate(parents):
        head = heads[joint]
        if parent < 0:
            above, place = first, head
        else:
            above, place = maps[parent, :, :3], maps[parent, :, :3] @ head + maps[parent, :, 3]
        maps[joint, :, :3] = above @ turns[joint]
        maps[joint, :, 3] = place - maps[joint, :, :3] @ head
    return maps


def skin(vertices: NDArray[np.float32], weights: NDArray[np.float32], maps: Doubles) -> NDArray[np.float32]:
    """Move each vertex by the weighted mean of the maps of its joints.

    Args:
        vertices: (N, 3) at rest.
        weights: (N, J), rows summing to 1.
        maps: (J, 3, 4) as from `joint_transforms`.

    Returns:
        (N, 3) float32.
    """
    blended = (weights @ maps.reshape(len(maps), 12).astype(np.float32)).reshape(-1, 3, 4)
    moved: NDArray[np.float32] = np.einsum("nij,nj->ni", blended[:, :, :3], vertices) + blended[:, :, 3]
    return moved
