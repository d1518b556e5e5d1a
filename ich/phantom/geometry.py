"""Implicit surfaces: distances in mm, negative inside, and the pieces that a head is put together from."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

FAR = 99.0  # mm: nowhere near

Points = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y, z


# Shapes


def ramp(value: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, straight between."""
    return np.clip(value, 0.0, 1.0)


def bell(value: np.ndarray) -> np.ndarray:
    """Return 1 at 0, falling off as a Gaussian does."""
    return np.exp(-value * value)


def blend(below, above, share):
    """Mix two values: `below` where share is 0, `above` where it is 1."""
    return below + share * (above - below)


@dataclass(frozen=True)
class Grid:
    """The points of a slice's two planes, in the coordinates of the head.

    Parameters
    ----------
    across, down : float array, shape (columns,) and (rows,)
        Offsets in mm from the head's origin along the rows and columns of the image.
    up : float array, shape (2,)
        Offsets of the two planes along the normal of the slice, in mm.
    rotation : float array, shape (3, 3)
        Directions of across, down and up in the coordinates of the head, one a row.
    """

    across: np.ndarray
    down: np.ndarray
    up: np.ndarray
    rotation: np.ndarray

    @property
    def spacing(self) -> float:
        """Distance of neighbouring points in mm."""
        return float(self.across[1] - self.across[0])

    def points(self) -> Points:
        """Coordinates x, y and z, each float32 of shape (2, rows, columns)."""
        across, down, up = self.across, self.down[:, None], self.up[:, None, None]
        x, y, z = ((across * a + down * b + up * c).astype(np.float32) for a, b, c in self.rotation.T)
        return x, y, z


class Waves:
    """A smooth random field of mean 0 and variance 1: plane waves of random direction, phase and length.

    Parameters
    ----------
    rng : numpy.random.Generator
    count : int
        Number of waves.
    shortest, longest : float
        Range of their lengths in mm.
    """

    def __init__(self, rng: np.random.Generator, count: int, shortest: float, longest: float):
        direction = rng.normal(size=(count, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        self.vectors = direction * (2 * np.pi / rng.uniform(shortest, longest, (count, 1)))
        self.phases = rng.uniform(0, 2 * np.pi, count)
        self.scale = math.sqrt(2 / count)
        self.last: tuple[Grid | None, np.ndarray] = None, np.empty(0)

    def __call__(self, grid: Grid) -> np.ndarray:
        """Values on a grid, float32 of shape (2, rows, columns)."""
        if self.last[0] is not grid:  # a slice asks for some fields more than once
            self.last = grid, self._on(grid)
        return self.last[1]

    def _on(self, grid: Grid) -> np.ndarray:
        """As the points of a grid lie in planes, the sum of cosines is a product of matrices."""
        a, b, c = grid.rotation @ self.vectors.T
        across = np.outer(grid.across, a)
        rest = grid.down[:, None] * b + (grid.up[:, None] * c + self.phases)[:, None]
        left = np.concatenate([np.cos(rest), -np.sin(rest)], axis=-1).astype(np.float32)
        right = np.concatenate([np.cos(across), np.sin(across)], axis=-1).astype(np.float32)
        return left @ (right.T * np.float32(self.scale))

    def at(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Values at any points."""
        total = np.zeros_like(x)
        for (a, b, c), phase in zip(self.vectors.tolist(), self.phases.tolist(), strict=True):
            total += np.cos(a * x + b * y + (c * z + phase))
        return total * self.scale


@dataclass(frozen=True)
class Ball:
    """An ellipsoid. Its distance is exact on the surface and right to first order beside it."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    def span(self, axis: int) -> tuple[float, float]:
        """Lowest and highest coordinate along an axis."""
        return self.centre[axis] - self.radii[axis], self.centre[axis] + self.radii[axis]

    def __call__(self, *p: np.ndarray) -> np.ndarray:
        """Distance to the surface."""
        u, v, w = (((c - m) / r) ** 2 for c, m, r in zip(p, self.centre, self.radii, strict=True))
        a, b, c = self.radii
        r = np.sqrt(u + v + w + 1e-6)
        return (r - 1) * r / np.sqrt(u / (a * a) + v / (b * b) + w / (c * c) + 1e-9)


@dataclass(frozen=True)
class Tube:
    """A straight tube with round ends whose radius changes evenly from one end to the other."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radii: tuple[float, float]

    def span(self, axis: int) -> tuple[float, float]:
        """Lowest and highest coordinate along an axis."""
        (a, b), (r, s) = (self.start[axis], self.end[axis]), self.radii
        return min(a - r, b - s), max(a + r, b + s)

    def __call__(self, *p: np.ndarray) -> np.ndarray:
        """Distance to the surface."""
        axis = [e - s for s, e in zip(self.start, self.end, strict=True)]
        u, v, w = (c - s for c, s in zip(p, self.start, strict=True))
        a, b, c = axis
        t = ramp((u * a + v * b + w * c) * (1 / (a * a + b * b + c * c)))
        r, s = self.radii
        return np.sqrt((u - t * a) ** 2 + (v - t * b) ** 2 + (w - t * c) ** 2) - (r + t * (s - r))


def union(shapes: Iterable[Ball | Tube], *p: np.ndarray) -> np.ndarray:
    """Distance to the nearest of some shapes, taken as FAR in rows and slices more than 12 mm away from them."""
    distance = np.full_like(p[2], FAR)
    front, back = p[1].min(axis=(0, 2)) - 12, p[1].max(axis=(0, 2)) + 12  # of each row
    bottom, top = float(p[2].min()) - 12, float(p[2].max()) + 12
    for shape in shapes:
        (nearest, farthest), (low, high) = shape.span(1), shape.span(2)
        if low < top and high > bottom:
            rows = np.flatnonzero((nearest < back) & (farthest > front))
            part = np.s_[:, rows[0] : rows[-1] + 1] if rows.size else np.s_[:, :0]
            distance[part] = np.minimum(distance[part], shape(*(c[part] for c in p)))
    return distance


def coverage(distance: np.ndarray, blur: float) -> np.ndarray:
    """Share of each pixel that lies inside a shape, from the distances on the two planes; shape (rows, columns).

    The edge is as wide as the in-plane blur and the shift of the edge over the slice's thickness together.
    """
    below, above = distance
    return ramp(0.5 - (below + above) / (2 * (2 * abs(above - below) + blur)))


def sheet(distance: np.ndarray, half: float, blur: float) -> np.ndarray:
    """Share of each pixel inside a sheet of given half thickness about the surface of distance 0."""
    return coverage(distance - half, blur) - coverage(distance + half, blur)


def squared_slope(field: np.ndarray, spacing: float) -> np.ndarray:
    """Squared gradient of a field in the plane of the slice."""
    down, across = np.gradient(field, spacing, axis=(1, 2))
    return down * down + across * across


def refined(field: np.ndarray) -> np.ndarray:
    """Twice the resolution, by linear interpolation: (h, w) to (2h - 1, 2w - 1)."""
    fine = np.empty((2 * field.shape[0] - 1, 2 * field.shape[1] - 1), np.float32)
    fine[::2, ::2] = field
    fine[1::2, ::2] = (field[1:] + field[:-1]) / 2
    fine[:, 1::2] = (fine[:, :-1:2] + fine[:, 2::2]) / 2
    return fine
