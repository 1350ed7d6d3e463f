"""Rooms after 3D Shapes: a cube, cylinder, sphere or capsule on the floor of a room, seen from an angle."""

import colorsys
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Hit = tuple[Floats, Floats]
"""How far along each ray a surface is, infinity where the ray misses it; and its normals there, `(..., 3)`."""

HUES, SCALES = 10, 8
SHAPES = ("cube", "cylinder", "sphere", "capsule")
ORIENTATIONS = 15
WALL = 4.0  # from the middle of the room
FLOOR, WALLS, OBJECT = range(3)


def draw_rooms(classes: npt.NDArray[np.int64], image_size: int = 64) -> npt.NDArray[np.uint8]:
    """Rooms by ray casting, without shadows.

    Args:
        classes: `(rows, 6)`, of each the number of the hue of the floor, of the walls and of the object, of its size
            and shape, and of the angle of the camera.
        image_size: In pixels a side.

    Returns:
        `(rows, image_size, image_size, 3)`, RGB.
    """
    palette = np.array([colorsys.hsv_to_rgb(hue / HUES, 1, 1) for hue in range(HUES)])
    images = np.empty((len(classes), image_size, image_size, 3), dtype=np.uint8)
    for row, (*hues, scale, shape, orientation) in enumerate(classes.tolist()):
        parts, light = _scene(scale, shape, orientation, image_size)
        images[row] = np.rint(255 * palette[hues][parts] * light[..., None])
    return images


@lru_cache(maxsize=SCALES * len(SHAPES) * ORIENTATIONS)
def _scene(scale: int, shape: int, orientation: int, image_size: int) -> tuple[npt.NDArray[np.int8], Floats]:
    """What each pixel shows, floor, walls or object, and how light it is."""
    eye, rays = _camera(orientation, image_size)
    size = 0.55 * np.linspace(0.75, 1.25, SCALES)[scale]
    hits = [_floor(eye, rays), _walls(eye, rays), (_cube, _cylinder, _sphere, _capsule)[shape](eye, rays, size)]
    parts = np.argmin([distance for distance, _ in hits], axis=0)
    normals = np.choose(parts[..., None], [normal for _, normal in hits])
    light = np.array([0.4, -0.6, 0.7])
    return parts.astype(np.int8), 0.55 + 0.45 * np.maximum(0, normals @ (light / np.linalg.norm(light)))


def _camera(orientation: int, image_size: int) -> tuple[Floats, Floats]:
    """The place of the camera, and the direction of the ray through the centre of each pixel."""
    yaw = np.radians(np.linspace(-30, 30, ORIENTATIONS)[orientation])
    eye = np.array([3.2 * np.sin(yaw), -3.2 * np.cos(yaw), 1.9])
    forward = np.array([0, 0, 0.55]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    across = np.tan(np.radians(25)) * (2 * (np.arange(image_size) + 0.5) / image_size - 1)
    rays = forward + across[None, :, None] * right - across[:, None, None] * np.cross(right, forward)
    return eye, rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def _floor(eye: Floats, rays: Floats) -> Hit:
    return _plane(eye, rays, 2, 0.0, np.array([0.0, 0, 1]))


def _walls(eye: Floats, rays: Floats) -> Hit:
    sides = [(axis, side) for axis in (0, 1) for side in (-WALL, WALL)]
    return _nearest([_plane(eye, rays, axis, side, -np.sign(side) * np.eye(3)[axis]) for axis, side in sides])


def _plane(eye: Floats, rays: Floats, axis: int, place: float, normal: Floats) -> Hit:
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (place - eye[axis]) / rays[..., axis]
    return np.where(distance > 0, distance, np.inf), np.broadcast_to(normal, rays.shape)


def _cube(eye: Floats, rays: Floats, size: float) -> Hit:
    faces = []
    for axis in range(3):
        for side, place in ((-1.0, -size if axis < 2 else 0.0), (1.0, size if axis < 2 else 2 * size)):
            distance, normal = _plane(eye, rays, axis, place, side * np.eye(3)[axis])
            point = _point(eye, rays, distance)
            inside = [
                abs(point[..., other] - (size if other == 2 else 0)) <= size for other in range(3) if other != axis
            ]
            faces.append((np.where(np.logical_and(*inside), distance, np.inf), normal))
    return _nearest(faces)


def _cylinder(eye: Floats, rays: Floats, size: float) -> Hit:
    distance, normal = _plane(eye, rays, 2, 2 * size, np.array([0.0, 0, 1]))
    point = _point(eye, rays, distance)
    lid = np.where(np.hypot(point[..., 0], point[..., 1]) <= size, distance, np.inf), normal
    return _nearest([lid, _tube(eye, rays, size, 0, 2 * size)])


def _sphere(eye: Floats, rays: Floats, size: float) -> Hit:
    return _ball(eye, rays, size, size)


def _capsule(eye: Floats, rays: Floats, size: float) -> Hit:
    radius = 0.6 * size
    ends = radius, 2 * size - radius
    return _nearest([_tube(eye, rays, radius, *ends), *(_ball(eye, rays, radius, end) for end in ends)])


def _tube(eye: Floats, rays: Floats, radius: float, low: float, high: float) -> Hit:
    """The side of an upright cylinder in the middle of the room."""
    flat = rays[..., :2]
    distance = _first_root((flat**2).sum(-1), flat @ eye[:2], float(eye[:2] @ eye[:2]) - radius**2)
    point = _point(eye, rays, distance)
    normal = np.concatenate([point[..., :2] / radius, np.zeros_like(point[..., :1])], axis=-1)
    return np.where((low <= point[..., 2]) & (point[..., 2] <= high), distance, np.inf), normal


def _ball(eye: Floats, rays: Floats, radius: float, height: float) -> Hit:
    middle = np.array([0, 0, height])
    start = eye - middle
    distance = _first_root((rays**2).sum(-1), rays @ start, float(start @ start) - radius**2)
    return distance, (_point(eye, rays, distance) - middle) / radius


def _first_root(a: Floats, b: Floats, c: float) -> Floats:
    r"""The smaller root of \(a t^2 + 2 b t + c\), where there is one above 0; infinity elsewhere."""
    inside = b**2 - a * c
    root = (-b - np.sqrt(np.maximum(inside, 0))) / a
    return np.where((inside >= 0) & (root > 0), root, np.inf)


def _point(eye: Floats, rays: Floats, distance: Floats) -> Floats:
    """Where rays are after a distance; some far place where it is infinite."""
    return eye + np.where(np.isfinite(distance), distance, 1e3)[..., None] * rays


def _nearest(hits: list[Hit]) -> Hit:
    which = np.argmin([distance for distance, _ in hits], axis=0)
    return np.min([distance for distance, _ in hits], axis=0), np.choose(which[..., None], [each for _, each in hits])
