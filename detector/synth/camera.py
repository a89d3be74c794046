"""A pinhole camera: where it stands, which rays it sends out, and where a point lands in the picture."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError

__all__ = ["FOCAL_LENGTHS", "Camera", "frame_on"]

# 35 mm equivalents, in mm: a phone's wide lens to a portrait lens.
FOCAL_LENGTHS = (24.0, 135.0)
# The diagonal of a 36 x 24 mm frame: what "35 mm equivalent" compares for any aspect ratio.
_FRAME_DIAGONAL = math.hypot(36.0, 24.0)
# Nothing nearer than this is seen, metres.
_NEAREST = 0.05
_FIT_STEPS = 8


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera in the world (metres, z up). The pixel in row i and column j is centred on x = j + 0.5, y = i + 0.5.

    Attributes:
        position: (3,) where its eye is.
        target: (3,) what lies in the middle of the picture.
        up: (3,) what points upwards in the picture before the roll; not along the view.
        focal_length: 35 mm equivalent in mm, by the diagonal.
        roll: radians; a positive roll turns the contents of the picture anticlockwise.
        image_size: (height, width) in pixels.
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    focal_length: float = 50.0
    roll: float = 0.0
    image_size: tuple[int, int] = (384, 384)

    def __post_init__(self) -> None:
        """Refuse a camera that sees nothing.

        Raises:
            UsageError: for a focal length or picture size that is not positive, or axes that do not span a view.
        """
        if not self.focal_length > 0 or min(self.image_size) < 1:
            raise UsageError(
                f"focal_length and image_size must be positive; got {self.focal_length} and {self.image_size}"
            )
        view = np.subtract(self.target, self.position)
        if not np.linalg.norm(np.cross(view, self.up)) > 1e-9:
            raise UsageError(f"up must not lie along the view from position to target; got up {self.up}, view {view}")

    @property
    def focal_pixels(self) -> float:
        """The focal length in pixels of this picture."""
        return self.focal_length / _FRAME_DIAGONAL * math.hypot(*self.image_size)

    @property
    def axes(self) -> NDArray[np.float64]:
        """(3, 3) rows right, down and forward, unit vectors in the world."""
        forward = np.subtract(self.target, self.position)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        cosine, sine = math.cos(self.roll), math.sin(self.roll)
        return np.stack([cosine * right + sine * down, cosine * down - sine * right, forward])

    def rays(self, pixels: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return (N, 3) float32 unit directions through `pixels`, (N, 2) as (x, y); all start at `position`."""
        height, width = self.image_size
        axes = self.axes.astype(np.float32)
        shift = (pixels - np.asarray([width / 2, height / 2], np.float32)) / np.float32(self.focal_pixels)
        directions = shift.astype(np.float32) @ axes[:2] + axes[2]
        length = np.sqrt(np.einsum("ij,ij->i", directions, directions))
        return np.asarray(directions / length[:, None], dtype=np.float32)

    def project(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (N, 3): x and y in pixels and the depth along the view in metres, of (N, 3) points in the world.

        A point behind the eye has a depth of zero or less, and x and y of no meaning.
        """
        height, width = self.image_size
        seen = (np.asarray(points, dtype=np.float64) - self.position) @ self.axes.T
        depth = seen[:, 2]
        scale = self.focal_pixels / np.where(np.abs(depth) > 1e-9, depth, 1e-9)
        return np.stack([seen[:, 0] * scale + width / 2, seen[:, 1] * scale + height / 2, depth], axis=1)


def frame_on(
    points: NDArray[np.floating],
    *,
    fill: float,
    offset: tuple[float, float],
    rng: np.random.Generator,
    image_size: tuple[int, int] = (384, 384),
    azimuth: float | None = None,
    elevation: float | None = None,
    focal_length: float | None = None,
    roll: float | None = None,
) -> Camera:
    """Return a camera that has `points` in its frame; what is not given is drawn.

    Args:
        points: (N, 3) at least two different points in the world, metres.
        fill: share of the picture that the points' bounding box takes along the tighter side; over 1 crops them.
        offset: where the centre of that box lies from the centre of the picture, in shares of width and height.
        rng: draws what is None below; the number of draws does not depend on what is given.
        image_size: (height, width) in pixels.
        azimuth: radians around z; 0 looks at the front (from -y), pi / 2 at the left side of a body (from +x).
        elevation: radians above the horizon; negative looks up.
        focal_length: 35 mm equivalent; drawn log-uniformly from `FOCAL_LENGTHS`.
        roll: radians; drawn from a normal distribution, mostly under 5 degrees.

    Raises:
        UsageError: when there are no two different points, or `fill` is not positive.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) < 2 or not np.ptp(points, axis=0).max() > 0 or not fill > 0:
        raise UsageError(f"framing needs two different points and a positive fill; got {len(points)} and {fill}")
    draws = rng.random(3)
    drawn_roll = float(rng.normal(0.0, 0.045))
    azimuth = 2 * math.pi * draws[0] if azimuth is None else azimuth
    elevation = math.radians(-15 + 45 * draws[1]) if elevation is None else elevation
    low, high = FOCAL_LENGTHS
    focal_length = low * (high / low) ** draws[2] if focal_length is None else focal_length
    away = np.array(
        [math.sin(azimuth) * math.cos(elevation), -math.cos(azimuth) * math.cos(elevation), math.sin(elevation)]
    )
    # Straight above or below z does not say what is upwards: there the front of a body is at the picture's bottom.
    up = (0.0, 0.0, 1.0) if abs(away[2]) < 0.98 else (0.0, 1.0, 0.0)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    # With the eye this far out no point is behind it, whatever the steps below ask for.
    nearest = float(((points - centre) @ away).max()) + _NEAREST
    distance = max(nearest, 3.0 * float(np.linalg.norm(np.ptp(points, axis=0))))
    target = centre
    height, width = image_size
    for _ in range(_FIT_STEPS):
        camera = Camera(
            position=_triple(target + distance * away),
            target=_triple(target),
            up=up,
            focal_length=float(focal_length),
            roll=drawn_roll if roll is None else roll,
            image_size=image_size,
        )
        seen = camera.project(points)[:, :2]
        low_xy, high_xy = seen.min(axis=0), seen.max(axis=0)
        size = float(((high_xy - low_xy) / (width, height)).max())
        wish = np.array([width * (0.5 + offset[0]), height * (0.5 + offset[1])])
        slip = ((low_xy + high_xy) / 2 - wish) * (distance / camera.focal_pixels)
        target = target + slip @ camera.axes[:2]
        nearest = float(((points - target) @ away).max()) + _NEAREST
        distance = max(nearest, distance * size / fill)
    return Camera(
        position=_triple(target + distance * away),
        target=_triple(target),
        up=up,
        focal_length=float(focal_length),
        roll=drawn_roll if roll is None else roll,
        image_size=image_size,
    )


def _triple(vector: NDArray[np.floating]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
