"""Simple meshes and cameras for the tests of the renderer."""

import numpy as np
from numpy.typing import NDArray

from detector.synth.camera import Camera
from detector.synth.mesh import Mesh

CENTRE_VIEW = Camera(position=(0.0, -5.0, 0.0), target=(0.0, 0.0, 0.0), focal_length=50.0, image_size=(65, 65))


def mesh_of(
    vertices: NDArray[np.floating], triangles: NDArray[np.integer], normals: NDArray[np.floating], **look
) -> Mesh:
    """Return a mesh of one colour; `look` may hold kind, albedo, opacity and gloss."""
    count = len(vertices)
    vertices = np.asarray(vertices, np.float32)
    return Mesh(
        kind=look.get("kind", "object"),
        vertices=vertices,
        triangles=np.asarray(triangles, np.int32),
        normals=np.asarray(normals, np.float32),
        rest=vertices,
        uv=np.zeros((count, 2), np.float32),
        albedo=np.tile(np.asarray(look.get("albedo", (0.5, 0.5, 0.5)), np.float32), (count, 1)),
        opacity=np.full(count, look.get("opacity", 1.0), np.float32),
        gloss=np.full(count, look.get("gloss", 0.0), np.float32),
    )


def sphere(centre=(0.0, 0.0, 0.0), radius=1.0, rings=48, **look) -> Mesh:
    """Return a sphere of rings x rings squares."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, rings), indexing="ij")
    normals = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1).reshape(
        -1, 3
    )
    cell = np.arange((rings - 1) ** 2)
    a = cell // (rings - 1) * rings + cell % (rings - 1)
    faces = np.concatenate([np.stack([a, a + rings, a + 1], 1), np.stack([a + 1, a + rings, a + rings + 1], 1)])
    return mesh_of(normals * radius + np.asarray(centre), faces, normals, **look)


def wall(y=0.0, half=1.0, **look) -> Mesh:
    """Return an upright square that faces -y, towards the camera."""
    corners = [[-half, y, -half], [half, y, -half], [half, y, half], [-half, y, half]]
    return mesh_of(np.array(corners), np.array([[0, 1, 2], [0, 2, 3]]), np.tile([0.0, -1.0, 0.0], (4, 1)), **look)


def floor(z=0.0, half=3.0, **look) -> Mesh:
    """Return a level square that faces up."""
    corners = [[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]]
    return mesh_of(np.array(corners), np.array([[0, 1, 2], [0, 2, 3]]), np.tile([0.0, 0.0, 1.0], (4, 1)), **look)
