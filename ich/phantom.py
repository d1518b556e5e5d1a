"""Synthetic head CT in the layout of the RSNA data: the data set that the pipeline brings along.

A head is a set of implicit functions of its own coordinates: x to the patient's left, y to the back, z upwards, in mm,
with the origin between the foramina of Monro. Each gives a distance to a surface in mm, negative inside. A slice
evaluates them on two planes, a quarter of its thickness above and below its middle: the mean of the two distances says
where an edge lies and their difference how obliquely it runs through the slice, so that every edge is as soft as its
partial volume makes it.

The images teach nothing about disease. They exist so that every step from file to report can be run, tested and timed
without patients' data.
"""

import logging
import math
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from threadpoolctl import threadpool_limits

from ich.errors import InputError
from ich.files import write_text
from ich.labels import CLASSES, SUBTYPES

LABEL_AREA = 60.0  # mm²: a slice bears a label where blood of that kind covers as much; less, no reader would call

# How often each combination of subtypes occurs among 674,258 slices of the RSNA data (order of SUBTYPES).
COMBINATIONS = {
    "00001": 28909, "00010": 14717, "01000": 13932, "00100": 8914, "01100": 6330, "00011": 4654, "01010": 3611,
    "00110": 3226, "01001": 2952, "01011": 2017, "01110": 1761, "10000": 1497, "00101": 1021, "00111": 893,
    "01111": 759, "01101": 646, "10001": 341, "11000": 233, "10010": 180, "10011": 91, "11001": 86, "11010": 75,
    "11100": 45, "11011": 42, "10100": 39, "11110": 36, "10111": 29, "11111": 20, "11101": 19, "10101": 17,
    "10110": 11,
}  # fmt: skip

# Windows as scanners write them in the header, and the share of series that have each.
WINDOWS = {
    (("00036", "00036"), ("00080", "00080")): 0.40,
    ("30", "80"): 0.31,
    ("40", "150"): 0.14,
    (("00040", "00040"), ("00080", "00080")): 0.07,
    (("00047", "00047"), ("00080", "00080")): 0.04,
    ("35.000000", "135.000000"): 0.04,
}

STUDIES = {1: 0.95, 2: 0.035, 3: 0.015}  # how many studies a patient has
DUPLICATES = 4  # slices that are listed twice in the label file

AIR, FAT, SKIN, MUSCLE, DURA, VITREOUS = -1000.0, -98.0, 30.0, 56.0, 58.0, 9.0  # HU
OEDEMA = 11.0  # HU below white matter
FAR = 99.0  # mm: nowhere near

Points = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y, z
Blood = dict[str, tuple[np.ndarray, float]]  # share of each pixel, and HU, of a subtype


@dataclass(frozen=True)
class Family:
    """How scanners store pixels.

    Parameters
    ----------
    bits : int
        BitsStored.
    signed : bool
        PixelRepresentation.
    intercept : int
        RescaleIntercept.
    share : float
        Share of the series. The rare families are given more than they have in the RSNA data, so that each occurs.
    """

    bits: int
    signed: bool
    intercept: int
    share: float

    @property
    def wraps(self) -> bool:
        """Whether this is the known wrong header: negative HU have wrapped around to 4095 and less."""
        return not self.signed and self.intercept > -100


FAMILIES = (
    Family(16, True, -1024, 0.79),
    Family(12, False, -1024, 0.12),
    Family(12, True, 0, 0.03),
    Family(12, False, -1000, 0.03),
    Family(12, False, 0, 0.03),
)
PADDINGS = {-2000: 0.5, -1024: 0.2, None: 0.3}  # stored value outside the scanner's circle


# ---------------------------------------------------------------------------------------------------------------------
# Shapes


def _ramp(value: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, straight between."""
    return np.clip(value, 0.0, 1.0)


def _bell(value: np.ndarray) -> np.ndarray:
    return np.exp(-value * value)


def _blend(below, above, share):
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
        t = _ramp((u * a + v * b + w * c) * (1 / (a * a + b * b + c * c)))
        r, s = self.radii
        return np.sqrt((u - t * a) ** 2 + (v - t * b) ** 2 + (w - t * c) ** 2) - (r + t * (s - r))


def _union(shapes: Iterable[Ball | Tube], *p: np.ndarray) -> np.ndarray:
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


def _cover(distance: np.ndarray, blur: float) -> np.ndarray:
    """Share of each pixel that lies inside a shape, from the distances on the two planes; shape (rows, columns).

    The edge is as wide as the in-plane blur and the shift of the edge over the slice's thickness together.
    """
    below, above = distance
    return _ramp(0.5 - (below + above) / (2 * (2 * abs(above - below) + blur)))


def _sheet(distance: np.ndarray, half: float, blur: float) -> np.ndarray:
    """Share of each pixel inside a sheet of given half thickness about the surface of distance 0."""
    return _cover(distance - half, blur) - _cover(distance + half, blur)


def _slope(field: np.ndarray, spacing: float) -> np.ndarray:
    """Squared gradient of a field in the plane of the slice."""
    down, across = np.gradient(field, spacing, axis=(1, 2))
    return down * down + across * across


def _finer(field: np.ndarray) -> np.ndarray:
    """Twice the resolution, by linear interpolation: (h, w) to (2h - 1, 2w - 1)."""
    fine = np.empty((2 * field.shape[0] - 1, 2 * field.shape[1] - 1), np.float32)
    fine[::2, ::2] = field
    fine[1::2, ::2] = (field[1:] + field[:-1]) / 2
    fine[:, 1::2] = (fine[:, :-1:2] + fine[:, 2::2]) / 2
    return fine


# ---------------------------------------------------------------------------------------------------------------------
# Anatomy of the mean head, in mm. Structures on both sides are given once, at positive x.

LATERAL_VENTRICLES = (
    Tube((15, -38, 1), (8, -26, 7), (3.0, 5.0)),  # frontal horn
    Tube((8, -26, 7), (6, -12, 11), (5.0, 4.5)),
    Tube((6, -12, 12), (11, 10, 18), (4.5, 5.0)),  # body
    Tube((11, 10, 18), (22, 32, 12), (5.0, 7.5)),
    Tube((22, 33, 10), (22, 54, 6), (7.0, 2.5)),  # atrium and occipital horn
    Tube((22, 33, 8), (33, 18, -10), (6.0, 3.0)),  # temporal horn
    Tube((33, 18, -10), (31, -4, -20), (3.0, 2.2)),
)
MIDLINE_VENTRICLES = (
    Ball((0, -3, -3), (2.3, 15, 11)),  # third
    Tube((0, 12, -8), (0, 30, -26), (1.2, 1.2)),  # aqueduct
    Ball((0, 35, -36), (7, 5, 10)),  # fourth
)
CISTERNS = (
    Ball((0, -8, -18), (12, 10, 6)),  # suprasellar
    Tube((9, -12, -17), (36, -17, -12), (2.6, 2.4)),  # stem of the Sylvian fissure
    Tube((0, 2, -22), (0, 9, -15), (4, 3)),  # interpeduncular
    Tube((14, 5, -17), (18, 17, -11), (2.4, 2.4)),  # ambient
    Tube((18, 17, -11), (8, 28, -6), (2.4, 2.8)),
    Ball((0, 29, -5), (10, 4, 5)),  # quadrigeminal
    Tube((0, 7, -30), (15, 16, -33), (2.8, 2.2)),  # prepontine
    Tube((0, 9, -42), (14, 20, -46), (2.4, 2.2)),
    Tube((14, 20, -38), (27, 27, -39), (3.0, 2.6)),  # of the cerebellopontine angle
    Tube((0, 16, -56), (0, 24, -75), (4.5, 5.0)),  # premedullary
    Ball((0, 72, -58), (9, 7, 9)),  # cisterna magna
    Ball((38, -6, 3), (1.9, 17, 14)),  # Sylvian fissure: insula, opercula
    Ball((50, -5, 2), (14, 1.7, 10)),
    Ball((46, -18, -4), (10, 2.0, 9)),
)
DEEP_GREY = (
    Ball((13.5, -27, 9), (4.5, 9, 9)),  # caudate
    Ball((25, -7, 1), (6, 16, 11)),  # lentiform
    Ball((10, 9, 3), (7.5, 13, 9)),  # thalamus
)
BRAINSTEM = (
    Ball((0, 18, -36), (16, 12, 15)),
    Ball((0, 13, -14), (15, 11, 12)),
    Tube((0, 24, -50), (0, 38, -80), (9, 7)),
)
CEREBELLAR_WHITE = Ball((18, 48, -36), (14, 14, 12))
CALLOSUM = Ball((0, -2, 2), (60, 43, 30))  # inside it the hemispheres hang together
BONES = (
    Tube((14, 14, -32), (58, 40, -33), (8, 11)),  # petrous
    Ball((54, 35, -46), (13, 15, 20)),  # mastoid
    Tube((0, 7, -28), (0, 25, -58), (6, 4)),  # clivus
    Ball((0, -12, -40), (18, 17, 13)),  # sphenoid
    Tube((40, -42, -14), (30, -20, -40), (3, 3)),
    Tube((30, -20, -40), (16, -22, -75), (2.2, 1.5)),  # pterygoid
    Tube((60, -40, -50), (67, 0, -45), (2.2, 2.2)),  # zygoma
    Tube((45, -70, -12), (47, -64, -48), (4, 4)),
    Tube((47, -64, -48), (60, -40, -52), (4, 3)),
    Tube((52, 0, -50), (48, -8, -95), (4.5, 4)),  # mandible
    Tube((48, -8, -95), (10, -80, -108), (6, 7)),
    Tube((3, -88, -14), (4, -98, -40), (1.8, 1.0)),  # nasal
    Tube((10, 20, -74), (24, 30, -78), (6, 7)),  # atlas
    Tube((24, 30, -78), (6, 58, -80), (6, 4)),
)
SINUSES = (
    Ball((0, -14, -39), (13, 13, 9)),  # sphenoid
    Ball((29, -60, -68), (16, 20, 17)),  # maxillary
    Tube((0, -40, -78), (0, 4, -84), (7, 6)),  # pharynx
    Tube((86, 13, -40), (50, 12, -38), (3.2, 2.4)),  # ear canal
)
ETHMOID, NASAL_CAVITY, MASTOID_CELLS = (
    Ball((0, -58, -36), (12, 30, 15)),
    Ball((0, -60, -66), (15, 32, 20)),
    Ball((56, 35, -46), (11, 13, 17)),
)
ORBIT, GLOBE, LENS = (
    Ball((31, -64, -30), (17, 29, 17)),
    Ball((32, -75, -29), (12.3, 12.3, 12.3)),
    Ball((32, -84.5, -29), (4.5, 2.0, 4.5)),
)
OPTIC = (
    Tube((31, -62, -29), (13, -34, -28), (2.0, 1.8)),  # nerve, lateral and medial rectus
    Tube((41, -66, -29), (15, -34, -29), (1.8, 1.5)),
    Tube((23, -66, -29), (11, -34, -29), (1.8, 1.5)),
)
TEMPORALIS = Ball((60, -30, -6), (16, 27, 40))
MUSCLES = (
    Ball((63, -32, -12), (8, 26, 36)),
    Ball((46, -26, -64), (13, 17, 24)),
    Ball((24, 74, -76), (26, 15, 32)),
    Ball((60, 30, -78), (9, 16, 26)),
)
FACE, NOSE, EAR = (
    Ball((0, -46, -64), (67, 53, 80)),
    Tube((0, -82, -16), (0, -95, -54), (8, 13)),
    Ball((82, 20, -38), (5, 15, 26)),
)


def _floor(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the floor of the cavity: three fossae, the ridges between them, sella, clivus and foramen magnum."""
    side = abs(x)
    wing = y + 12 + 0.42 * np.maximum(side - 12, 0)  # behind the sphenoid ridge where positive
    petrous = y - 5 - 0.6 * side  # behind the petrous ridge
    anterior = -20 + 8 * _bell((side - 31) / 16) * _bell((y + 55) / 30)
    middle = np.minimum(-41 + 0.014 * ((side - 36) ** 2 + (y + 2) ** 2), -31)
    posterior = np.minimum(-64 + 0.011 * (side * side + (y - 42) ** 2), -38)
    floor = _blend(_blend(anterior, middle, _ramp(wing / 9)), posterior, _ramp(petrous / 11))
    floor += 4 * _bell(wing / 5) * _ramp((52 - side) / 12)
    floor += 13 * _bell(petrous / (8 + 0.08 * side)) * _ramp((side - 9) / 8)
    clivus = np.maximum(-21 - 6 * _bell((y + 4) / 5) + 6 * _bell((y - 5) / 3) - 1.6 * np.maximum(y - 7, 0), -62)
    floor = _blend(floor, clivus, _ramp((17 - side) / 9) * _ramp((34 - y) / 6) * _ramp((y + 26) / 10))
    return floor - 45 * _ramp((16 - np.hypot(side, y - 40)) / 2.5)


def _coronal(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Distance behind the coronal suture."""
    return y + 38 - 0.29 * z


def _lambdoid(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Distance before the lambdoid suture."""
    return 72 - 0.5 * abs(x) + 0.3 * z - y


def _suture(bone: str, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Distance from the sutures that bound a bone of the vault; positive inside the bone."""
    coronal, lambdoid = _coronal(y, z), _lambdoid(x, y, z)
    if bone == "frontal":
        return np.minimum(-coronal, abs(x) - 2)
    if bone == "occipital":
        return np.minimum(-lambdoid, abs(x) - 2)
    return np.minimum(np.minimum(coronal, lambdoid), abs(x) - 3)


class Head:
    """One patient's head: how it departs from the mean one.

    Parameters
    ----------
    rng : numpy.random.Generator
    """

    def __init__(self, rng: np.random.Generator):
        def some(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        def about(mean: float, spread: float) -> float:
            return mean + spread * float(np.clip(rng.normal(), -2.5, 2.5))

        self.age = some(0, 1)  # 0 young, 1 old: more fluid, less brain
        self.size = [about(1, 0.04) for _ in range(3)]
        self.egg, self.square, self.skew = some(0.03, 0.09), some(0.1, 0.35), about(0, 0.02)
        self.bend, self.warps = some(0.8, 2.2), [Waves(rng, 5, 90, 170) for _ in range(3)]
        self.bone, self.scalp, self.lumps = some(5.2, 8.0), some(4.5, 8.5), Waves(rng, 6, 40, 90)
        self.cortical, self.diploe, self.grain = some(1250, 1600), some(450, 800), Waves(rng, 14, 4, 11)
        self.sinus, self.cells, self.strands = some(0.5, 1.15), Waves(rng, 8, 9, 20), Waves(rng, 8, 30, 60)
        self.white, self.grey, self.fluid = about(27, 1), about(37.5, 0.8), about(6, 1.5)
        self.mottle, self.folia, self.pallor = Waves(rng, 16, 8, 30), Waves(rng, 10, 5, 9), self.age * some(0, 6)
        self.gap = 0.6 + 1.6 * self.age + some(0, 0.3)
        self.sulcus, self.depth = 0.45 + 0.75 * self.age + some(0, 0.2), some(13, 19)
        self.gyri, self.patches = Waves(rng, 26, 19, 30), Waves(rng, 8, 25, 60)
        self.fissure, self.midline = 1.2 + 1.2 * self.age + some(0, 0.4), Waves(rng, 3, 80, 160)
        self.ventricle, self.lopsided = -1.2 + 3.2 * self.age * some(0.4, 1) + some(0, 0.8), about(0, 0.4)
        self.wobble = [Waves(rng, 8, 22, 50) for _ in range(3)]
        self.pineal = some(1.2, 3.2) if some(0, 1) < 0.6 else 0.0  # radius of its calcification
        self.plexus = some(1.5, 3.0) if some(0, 1) < 0.4 else 0.0

    def template(self, grid: Grid) -> Points:
        """Where the points of a grid lie in the mean head."""
        x, y, z = (c / size for c, size in zip(grid.points(), self.size, strict=True))
        dx, dy, dz = (self.bend * wave(grid) for wave in self.warps)
        return x + self.skew * y + dx, y + dy, z + dz

    def vault(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Distance to the outer surface of the skull."""
        a = 73 * (1 + self.egg * np.clip(y, -100, 100) / 91 - 0.05 * _bell((y + 52) / 16) * _ramp((25 - z) / 30))
        b, c = 91, np.where(z > 0, np.float32(86), np.float32(150))
        u, v, w = (x / a) ** 2, (y / b) ** 2, (z / c) ** 2
        square = u + v + w - self.square * u * v - 0.25 * (z > 0) * (u + v) * w
        r = np.sqrt(np.maximum(square, 1e-6))
        return (r - 1) * r / np.sqrt(u / (a * a) + v / (b * b) + w / (c * c) + 1e-10)

    def thickness(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Thickness of the skull: thin at the temples, thick at the occipital and frontal crests."""
        side = abs(x)
        thin = 0.4 * self.bone * _bell((y + 8) / 38) * _bell((z + 8) / 26) * _ramp((side - 45) / 15)
        crest = 4.5 * _bell(x / 13) * _bell((z + 14) / 16) + 1.5 * _bell((z + 18) / 9) * _ramp((45 - side) / 20)
        frontal = 2.2 * _bell(x / 5) * _bell((z - 5) / 30)
        return np.maximum(self.bone - thin + np.where(y > 0, crest, frontal), 2.4)

    def surface(self, azimuth: float, elevation: float, side: float) -> tuple[float, float, float]:
        """Point of the skull's inner surface in a direction (degrees; azimuth 0 is to the side, 90 to the back)."""
        a, e = math.radians(azimuth), math.radians(elevation)
        direction = side * math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)
        radius = np.arange(30, 110, 0.5)
        p = [radius * d for d in direction]
        inside = self.vault(*p) + self.thickness(*p) < 0
        x, y, z = (float(c[inside][-1]) for c in p)
        return x, y, z


# ---------------------------------------------------------------------------------------------------------------------
# Haemorrhages


@dataclass(frozen=True)
class Layer:
    """Blood between skull and brain: a lens within one bone (epidural), or a crescent along a hemisphere (subdural)."""

    name: str
    centre: tuple[float, float, float]
    radius: float
    thickness: float
    bone: str  # empty for a crescent
    hu: float

    def depth(self, rough: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Thickness of the layer in mm; negative where there is none."""
        a, b, c = self.centre
        near = 1 - ((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / self.radius**2
        if self.bone:
            lens = self.thickness * np.maximum(near, -0.2)
            return np.where(x * a > 0, np.minimum(lens, 0.8 * _suture(self.bone, x, y, z)), -1)
        crescent = self.thickness * np.sqrt(np.maximum(near, 0))
        crescent *= _ramp((math.copysign(1, a) * x - 3) / 10) * _ramp((z + 24) / 12)
        return crescent + (0.7 * rough - 0.3) * _ramp(crescent / 3) - 0.6 * (crescent <= 0)


@dataclass(frozen=True)
class Clot:
    """An intraparenchymal haematoma: an ellipsoid with a rough surface and a rim of oedema."""

    shape: Ball
    rough: float
    rim: float
    hu: float


@dataclass(frozen=True)
class Flood:
    """Blood in the ventricles: below a level, where it has settled, or a cast of one or of all of them."""

    level: float  # mm behind the origin
    side: float  # 0 for both
    grow: float  # mm by which it widens the ventricles
    hu: float


@dataclass(frozen=True)
class Film:
    """Subarachnoid blood: the fluid of sulci and cisterns within a radius."""

    centre: tuple[float, float, float]
    radius: float
    grow: float  # mm by which it widens the sulci
    hu: float


@dataclass(frozen=True)
class Lesions:
    """The haemorrhages of one series, and the random fields that give them their shape and texture."""

    layers: tuple[Layer, ...]  # from the skull inwards
    clot: Clot | None
    flood: Flood | None
    film: Film | None
    rough: Waves
    texture: Waves


CLOTS = (  # where the centre of a haematoma may lie, and its radius
    ((23, -14, -2), (29, 4, 8), (11, 24)),  # basal ganglia
    ((10, 4, 0), (14, 14, 6), (9, 15)),  # thalamus
    ((12, 46, -36), (26, 58, -26), (9, 16)),  # cerebellum
    ((0, 0, 0), (0, 0, 0), (10, 24)),  # a lobe, anywhere
)


def _draw_epidural(rng: np.random.Generator, head: Head) -> Layer:
    bone = str(rng.choice(["temporoparietal", "frontal", "occipital"], p=[0.7, 0.2, 0.1]))
    azimuth = {"temporoparietal": (-16, 22), "frontal": (-66, -50), "occipital": (60, 72)}[bone]
    elevation = {"temporoparietal": (-2, 30), "frontal": (5, 30), "occipital": (-22, -4)}[bone]
    centre = head.surface(rng.uniform(*azimuth), rng.uniform(*elevation), rng.choice([-1, 1]))
    radius, thickness, hu = rng.uniform([26, 14, 66], [38, 28, 86]).tolist()
    return Layer("epidural", centre, radius, thickness, bone, hu)


def _draw_subdural(rng: np.random.Generator, head: Head) -> Layer:
    centre = head.surface(rng.uniform(-40, 45), rng.uniform(0, 42), rng.choice([-1, 1]))
    radius, thickness, hu = rng.uniform([32, 8, 64], [72, 18, 86]).tolist()
    return Layer("subdural", centre, radius, thickness, "", hu)


def _draw_clot(rng: np.random.Generator, head: Head) -> Clot:
    low, high, radii = CLOTS[rng.choice(len(CLOTS), p=[0.35, 0.15, 0.08, 0.42])]
    x, y, z = rng.uniform(low, high).tolist()
    if not x:  # a lobe
        share = rng.uniform(0.58, 0.78)
        x, y, z = (share * c for c in head.surface(rng.uniform(-65, 65), rng.uniform(-5, 50), 1))
    radius = rng.uniform(*radii)
    a, b, c = (radius * np.exp(rng.normal(0, 0.2, 3).clip(-0.4, 0.4))).tolist()
    rough, rim, hu = rng.uniform([0.06 * radius, 4, 64], [0.16 * radius, 9, 88]).tolist()
    return Clot(Ball((x * float(rng.choice([-1, 1])), y, z), (a, b, c)), rough, rim, hu)


def _draw_flood(rng: np.random.Generator) -> Flood:
    level, grow, hu = rng.uniform([4, 1.8, 64], [26, 3.4, 86]).tolist()
    if rng.random() < 0.6:
        return Flood(level, 0, grow, hu)
    return Flood(-FAR, float(rng.choice([-1, 0, 1])), grow, hu)


def _draw_film(rng: np.random.Generator, head: Head) -> Film:
    if rng.random() < 0.5:  # a ruptured aneurysm: the basal cisterns
        x, y, z = rng.uniform([-8, -14, -12], [8, 0, -2]).tolist()
        radius = rng.uniform(30, 50)
    else:  # trauma: the convexity
        x, y, z = (0.85 * c for c in head.surface(rng.uniform(-60, 60), rng.uniform(5, 45), rng.choice([-1, 1])))
        radius = rng.uniform(26, 48)
    grow, hu = rng.uniform([1.4, 70], [2.2, 88]).tolist()
    return Film((x, y, z), float(radius), grow, hu)


def _draw_lesions(rng: np.random.Generator, head: Head, subtypes: Sequence[str]) -> Lesions:
    """Draw the haemorrhages of a series; each subtype has a stream of its own, whatever else the series holds."""
    seeds = rng.integers(2**63, size=len(SUBTYPES)).tolist()  # spawn() would change what the next call draws
    stream = {name: np.random.default_rng(value) for name, value in zip(SUBTYPES, seeds, strict=True)}
    layers = []
    if "epidural" in subtypes:
        layers.append(_draw_epidural(stream["epidural"], head))
    if "subdural" in subtypes:
        layers.append(_draw_subdural(stream["subdural"], head))
    return Lesions(
        layers=tuple(layers),
        clot=_draw_clot(stream["intraparenchymal"], head) if "intraparenchymal" in subtypes else None,
        flood=_draw_flood(stream["intraventricular"]) if "intraventricular" in subtypes else None,
        film=_draw_film(stream["subarachnoid"], head) if "subarachnoid" in subtypes else None,
        rough=Waves(rng, 10, 14, 34),
        texture=Waves(rng, 14, 6, 24),
    )


# ---------------------------------------------------------------------------------------------------------------------
# From distances to Hounsfield units


@dataclass(frozen=True)
class Shell:
    """Distances to the surfaces between the air and the brain, each of shape (2, rows, columns)."""

    skin: np.ndarray  # outer surface of the head
    outer: np.ndarray  # outer and inner surface of the skull's vault
    inner: np.ndarray
    bone: np.ndarray  # all bone; holds the cavity too
    air: np.ndarray  # sinuses
    cavity: np.ndarray  # what the dura encloses
    base: np.ndarray | None  # floor of the cavity, above it negative; None in slices well above


def _shell(head: Head, grid: Grid, p: Points) -> Shell:
    x, y, z = p
    side, lumps, cells = abs(x), head.lumps(grid), head.cells(grid)
    outer = head.vault(*p)
    inner = outer + head.thickness(*p) + 0.16 * head.bone * lumps
    scalp = head.scalp * (1 + 0.12 * lumps)
    scalp += 4 * _bell((y + 35) / 22) * _bell((z + 8) / 26) * _ramp((side - 40) / 15)
    scalp += 9 * _ramp((-z - 32) / 25) * _ramp((y - 20) / 20)
    skin, bone, cavity, base = outer - scalp, outer, inner, None
    frontal = Ball((13, -91 + 3 * head.sinus, -6), (15 * head.sinus, 0.5 + 4.6 * head.sinus, 15 * head.sinus))
    air = frontal(side, y, z) + 1.6 * cells
    if z.min() < 8:
        floor = _floor(x, y)
        base = (floor - z) / np.sqrt(1 + np.minimum(_slope(floor, grid.spacing), 5))
        cavity = np.maximum(inner, base)
        septa = abs(cells)
        honeycomb = np.maximum(_union([MASTOID_CELLS], side, y, z), -1.5 * head.grain(grid) - 0.15)
        ethmoid = np.maximum(_union([ETHMOID], side, y, z), 3 * (0.2 - septa))
        nasal = np.maximum(np.maximum(_union([NASAL_CAVITY], side, y, z), 4 * (0.45 - septa)), 0.7 - side)
        for cave in (_union(SINUSES, side, y, z) + 0.8 * cells, honeycomb, ethmoid, nasal):
            air = np.minimum(air, cave)
        orbit = np.maximum(abs(_union([ORBIT], side, y, z)) - 0.8 - 0.8 * _ramp((side - 30) / 10), -(y + 74))
        bone = np.maximum(outer, base - 2.8 - 0.6 * lumps)
        bone = np.minimum(np.minimum(bone, orbit), _union(BONES, side, y, z) + 0.8 * cells)
        face, nose = FACE(*p) + 1.5 * lumps, _union([NOSE], *p)
        face = np.minimum(face, nose) - 14 * _ramp(0.5 - abs(face - nose) / 28) ** 2  # a smooth transition
        skin = np.minimum(np.minimum(skin, face), _union([EAR], side, y, z) + 1.5 * cells)
    return Shell(skin, outer, inner, np.minimum(bone, air - 1.3), air, np.maximum(cavity, 1.6 - air), base)


def _displaced(lesions: Lesions, p: Points) -> Points:
    """Where tissue lay before haemorrhage pushed it aside."""
    x, y, z = p
    for layer in lesions.layers:
        a, b, c = layer.centre
        push = 0.38 * layer.thickness * math.copysign(1, a)
        x = x + push * np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 45**2)
    if lesions.clot:
        a, b, c = lesions.clot.shape.centre
        reach = 1.7 * max(lesions.clot.shape.radii)
        share = 1 - 0.45 * np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / reach**2)
        x, y, z = a + share * (x - a), b + share * (y - b), c + share * (z - c)
    return x, y, z


@dataclass(frozen=True)
class Brain:
    """Distances to the surfaces within the cavity, each of shape (2, rows, columns)."""

    parenchyma: np.ndarray  # surface of the brain as a whole
    midline: np.ndarray  # signed distance from the middle plane
    callosum: np.ndarray
    tentorium: np.ndarray  # height above it
    infratentorial: np.ndarray
    cortex: np.ndarray
    sulci: np.ndarray  # sulci, cisterns and the fissure between the hemispheres
    lateral: np.ndarray  # lateral ventricles
    ventricles: np.ndarray  # all of them


def _brain(head: Head, lesions: Lesions, grid: Grid, p: Points, shell: Shell, layers: np.ndarray) -> Brain:
    x, y, z = _displaced(lesions, p)
    side, patches = abs(x), head.patches(grid)
    parenchyma = np.maximum(shell.cavity + head.gap * (1 + 0.5 * _ramp(-y / 60)), shell.cavity + layers + 0.3)
    tentorium = z + 20 - 27 * _ramp(1 - side / 46) * _ramp(1 - (y - 38) / 46)
    infratentorial = np.maximum(tentorium, 3 + 0.6 * side - y)

    midline = x - 1.5 * head.midline(grid)
    callosum = CALLOSUM(x, y, z)
    medial = np.where(infratentorial < 0, FAR, abs(midline) + 3 * np.maximum(-callosum, 0) - head.fissure)
    pial = np.minimum(-parenchyma, medial)  # depth below the surface of a hemisphere

    # Sulci are the zero surfaces of a random field whose structures point to the centre; dividing it by its gradient
    # makes a distance of it.
    radius = np.sqrt((x / 62) ** 2 + (y / 80) ** 2 + (z / 74) ** 2)
    stretch = (radius + 0.05) ** -0.6
    gyri = head.gyri.at(x * stretch, y * stretch, z * stretch)
    rise = (gyri[1] - gyri[0]) / float(grid.up[1] - grid.up[0])
    depth = head.depth * (1 + 0.3 * patches)
    beyond = np.maximum(np.maximum(pial - depth, 60 * (0.5 - radius)), 0)  # below their floor
    width = head.sulcus * (1 + 0.45 * patches)
    if lesions.film:
        width = width + lesions.film.grow * _ramp((lesions.film.radius - _away(lesions.film.centre, p)) / 8)
    centre = gyri / np.sqrt(_slope(gyri, grid.spacing) + rise * rise + 0.02**2)
    sulci = np.sqrt(centre * centre + beyond * beyond) - np.maximum(width * (1 - 0.45 * pial / depth), -1)
    sulci += 8 * _ramp(1 - infratentorial / 3)
    cortex = np.minimum(pial, sulci) - 3.1 - 0.5 * patches

    wx, wy, wz = (wave(grid) for wave in head.wobble)
    cisterns = _union(CISTERNS, abs(x + 3.2 * wx), y + 3.2 * wy, z + 1.3 * wz) + 0.5 - 0.7 * head.sulcus + 0.6 * patches
    cisterns = np.where(infratentorial < 6, np.maximum(cisterns, -_union(BRAINSTEM, x, y, z)), cisterns)
    fissure = np.maximum(abs(midline) - head.fissure * (1 - 0.4 * patches), np.maximum(-callosum, -infratentorial))
    sulci = np.minimum(np.minimum(sulci, cisterns), fissure)

    grow = max(head.ventricle, 0) * 0.7 + lesions.flood.grow if lesions.flood else head.ventricle
    bent = abs(x + 1.3 * wx)
    lateral = _union(LATERAL_VENTRICLES, bent + 0.4, y + 1.3 * wy, 0.8 * (z + 1.3 * wz) + 1)
    lateral = np.maximum(lateral - grow - head.lopsided * np.sign(x), 1 - side)  # the septum keeps them apart
    middle = _union(MIDLINE_VENTRICLES, x, y, z) - 0.25 * grow
    ventricles = np.minimum(lateral, middle) + 0.5 * patches
    return Brain(parenchyma, midline, callosum, tentorium, infratentorial, cortex, sulci, lateral, ventricles)


def _away(centre: tuple[float, float, float], p: Points) -> np.ndarray:
    return np.sqrt(sum((c - m) ** 2 for c, m in zip(p, centre, strict=True)))


def _tissue(head: Head, grid: Grid, brain: Brain, p: Points) -> np.ndarray:
    """Hounsfield units of grey and white matter, as if the brain filled the cavity."""
    cover = partial(_cover, blur=max(grid.spacing, 1.0))
    x, y, z = p
    stem = _union(BRAINSTEM, *p)
    hu = head.white + 0.8 * head.mottle(grid)[0]
    hu = _blend(hu, head.grey, cover(brain.cortex))
    hu = _blend(hu, head.grey, 0.9 * cover(_union(DEEP_GREY, abs(x), y, z) + 0.8 * head.patches(grid)))
    cerebellum = head.grey - 3 + 1.2 * head.folia(grid)[0]
    cerebellum -= 4 * cover(np.minimum(stem, _union([CEREBELLAR_WHITE], abs(x), y, z)))
    hu = _blend(hu, cerebellum, cover(brain.infratentorial))
    return hu - head.pallor * _ramp(1 - abs(brain.lateral.mean(0)) / 6)


def _dura(head: Head, grid: Grid, brain: Brain, shell: Shell, p: Points, hu: np.ndarray) -> np.ndarray:
    """Lay falx, tentorium, sagittal sinus and the usual calcifications over the brain."""
    blur = max(grid.spacing, 1.0)
    x, y, z = p
    above = 1 - _cover(brain.infratentorial, blur)
    falx = _sheet(brain.midline, 0.75, blur) * _cover(-brain.callosum - 3, blur) * above
    hu = _blend(hu, DURA, falx)
    slope = np.sqrt(1 + _slope(z - brain.tentorium, grid.spacing))
    notch = np.sqrt((x[0] / 22) ** 2 + ((y[0] - 12) / 25) ** 2) - 1
    behind = y[0] > 3 + 0.6 * abs(x[0])
    hu = _blend(hu, DURA, 0.8 * _sheet(brain.tentorium / slope, 0.8, blur) * _ramp(8 * notch) * behind)
    sinus = np.hypot(x, np.minimum(shell.cavity, 0)) - 4.5
    hu = _blend(hu, DURA, 0.8 * _cover(sinus, blur) * (y[0] > 40))
    for radius, centre, value in ((head.pineal, (0.5, 27, 0), 220), (head.plexus, (22, 36, 10), 130)):
        if radius:
            stone = Ball(centre, (radius, 1.3 * radius, 1.4 * radius))
            hu = _blend(hu, value, _cover(_union([stone], abs(x), y, z), blur))
    return hu


def _inside(head: Head, lesions: Lesions, grid: Grid, p: Points, shell: Shell) -> tuple[np.ndarray, Blood]:
    """Hounsfield units within the cavity, and the share of each pixel that each kind of blood takes."""
    cover = partial(_cover, blur=max(grid.spacing, 1.0))
    rough = lesions.rough(grid)
    deep = np.zeros_like(rough)
    blood: Blood = {}
    for layer in lesions.layers:
        above, deep = deep, deep + np.maximum(layer.depth(rough, *p), 0)
        within = np.maximum(np.maximum(-shell.inner - deep, above + shell.inner), shell.cavity)
        blood[layer.name] = cover(within) * ((deep - above).mean(0) > 0.3), layer.hu
    brain = _brain(head, lesions, grid, p, shell, deep)
    parenchyma, ventricle, sulcus = cover(brain.parenchyma), cover(brain.ventricles), cover(brain.sulci)
    hu = _tissue(head, grid, brain, p)
    if clot := lesions.clot:
        surface = clot.shape(*p) + clot.rough * rough
        hu = _blend(hu, head.white - OEDEMA, _ramp(0.5 + (clot.rim - surface.mean(0)) / 5))
        blood["intraparenchymal"] = cover(surface) * (1 - ventricle) * parenchyma, clot.hu
    hu = _blend(hu, head.fluid, np.maximum(np.maximum(sulcus, 1 - parenchyma), ventricle))
    if film := lesions.film:
        near = _ramp((film.radius - _away(film.centre, p).mean(0)) / 7) * _ramp(1.2 + 0.5 * rough[0])
        near *= _ramp((p[2][0] + 30) / 6)  # the lowest cisterns lie between bones, where no reader would see it
        blood["subarachnoid"] = sulcus * (1 - ventricle) * cover(shell.cavity + deep) * near, film.hu
    if flood := lesions.flood:
        share = ventricle * _ramp(0.5 + (grid.down[:, None] - flood.level) / 2)
        if flood.level > -FAR or flood.side:
            share = share * (brain.lateral.mean(0) < 2) * (flood.side * p[0][0] >= 0)
        blood["intraventricular"] = share, flood.hu
    texture = 3 * lesions.texture(grid)[0]
    for name in ("subarachnoid", "intraparenchymal", "intraventricular", "subdural", "epidural"):
        if name in blood:
            share, value = blood[name]
            hu = _blend(hu, value + texture, share)
    hu = _dura(head, grid, brain, shell, p, hu)
    # The scanner's correction for the skull goes a little too far.
    hu += 3.5 * np.exp(np.minimum(shell.cavity[0], 0) / 5)
    if shell.base is not None:  # beam hardening between the petrous bones
        x, y, z = (c[0] for c in p)
        hu -= 9 * _bell((y - 16) / 7) * _ramp((46 - abs(x)) / 10) * _bell((z + 36) / 11)
    return hu, blood


def _around(head: Head, grid: Grid, p: Points, shell: Shell) -> tuple[np.ndarray, np.ndarray]:
    """Hounsfield units of the soft tissue outside the skull, and of bone, each as if it filled the head."""
    cover = partial(_cover, blur=max(grid.spacing, 1.0))
    x, y, z = p
    side, cells, lumps, grain = abs(x), head.cells(grid), head.lumps(grid), head.grain(grid)[0]
    bone = abs((shell.inner + shell.outer) / (shell.inner - shell.outer)).mean(0)  # 0 in the diploe, 1 on the tables
    bone = _blend(head.diploe, head.cortical, _ramp((bone - 0.35) / 0.45)) * (1 + 0.1 * grain)
    seams = _sheet(_coronal(y, z) + 1.2 * cells, 0.4, 1.0) + _sheet(_lambdoid(x, y, z) + 1.5 * cells, 0.4, 1.0)
    bone = _blend(bone, 250, 0.7 * _ramp(seams) * (z[0] > -15))
    soft = FAT + 6 * lumps[0]
    muscle = np.maximum(_union([TEMPORALIS], side, y, z), shell.skin + 5)
    if shell.base is not None:
        bone = _blend(bone, 900 + 120 * grain, cover(-shell.base))
        fibres = 3 * (0.32 - abs(head.strands(grid)))
        muscle = np.minimum(muscle, np.maximum(shell.skin + 7 + 3 * lumps, fibres))
        muscle = np.minimum(muscle, np.maximum(_union(MUSCLES, side, y, z) + 1.5 * cells, shell.skin + 4))
    soft = _blend(soft, SKIN, cover(-2 - shell.skin))
    soft = _blend(soft, MUSCLE + 3 * head.mottle(grid)[0], cover(muscle))
    if shell.base is not None:
        globe = _union([GLOBE], side, y, z)
        soft = _blend(soft, FAT, cover(_union([ORBIT], side, y, z)))
        soft = _blend(soft, MUSCLE - 16, cover(np.minimum(_union(OPTIC, side, y, z), _union([NOSE], *p) + 2)))
        soft = _blend(soft, MUSCLE - 16, cover(globe))
        soft = _blend(soft, VITREOUS, cover(globe + 1.4))
        soft = _blend(soft, MUSCLE + 30, cover(_union([LENS], side, y, z)))
    return soft, bone


def _head(head: Head, lesions: Lesions, grid: Grid, finer: bool) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Hounsfield units without noise and the masks of the haemorrhages, on the grid or at twice its resolution."""
    p = head.template(grid)
    shell = _shell(head, grid, p)
    inside, blood = _inside(head, lesions, grid, p, shell)
    soft, bone = _around(head, grid, p, shell)

    def fine(field: np.ndarray) -> np.ndarray:
        return _finer(field) if finer else field

    def cover(distance: np.ndarray) -> np.ndarray:  # bone and air are sharp: their edges are cut at full resolution
        below, above = distance
        return _ramp(0.5 - fine((below + above) / 2) / (fine(2 * abs(above - below)) + blur))

    blur = max(grid.spacing / (2 if finer else 1), 0.9)
    hu = _blend(fine(soft), fine(bone), cover(shell.bone))
    hu = _blend(hu, AIR, cover(shell.air))
    hu = _blend(hu, fine(inside), cover(shell.cavity))
    hu = _blend(AIR, hu, cover(shell.skin))
    return hu, {name: fine(share) > 0.5 for name, (share, _) in blood.items()}


# ---------------------------------------------------------------------------------------------------------------------
# A series as the scanner makes it


@dataclass(frozen=True)
class Series:
    """One series, before it is made: what it is called, what it shows, how it is stored, and its random streams.

    Parameters
    ----------
    patient_id, study_id, series_id : str
        In the form of the RSNA data: `ID_` and hexadecimal digits.
    image_ids : tuple of str
        One a slice, from the lowest to the highest.
    subtypes : tuple of str
        The haemorrhages that it holds, members of SUBTYPES; empty for none.
    size : int
        Rows and columns of a slice.
    family : Family
        How pixels are stored.
    implicit : bool
        Whether the files are Implicit VR Little Endian.
    repeated : bool
        Whether its second slice repeats the position of the first.
    streams : tuple of three numpy.random.SeedSequence
        For the patient's anatomy, the haemorrhages, and the scan.
    """

    patient_id: str
    study_id: str
    series_id: str
    image_ids: tuple[str, ...]
    subtypes: tuple[str, ...]
    size: int
    family: Family
    implicit: bool
    repeated: bool
    streams: tuple[np.random.SeedSequence, np.random.SeedSequence, np.random.SeedSequence]


class Scan:
    """A series in the scanner: the head, its haemorrhages, geometry, noise, and what else lies in the picture.

    Parameters
    ----------
    series : Series
    """

    def __init__(self, series: Series):
        anatomy, disease, rng = (np.random.default_rng(stream) for stream in series.streams)
        self.head = Head(anatomy)
        self.lesions = _draw_lesions(disease, self.head, series.subtypes)
        count, self.size = len(series.image_ids), series.size
        self.pixel = rng.uniform(215, 260) / series.size  # mm
        self.spacing = float(np.clip(rng.uniform(160, 190) / count, 2.5, 6.5))  # mm, along the normal of the slices
        steps = np.arange(count) - (count - 1) / 2
        steps[1:] -= series.repeated
        self.levels = rng.normal(6, 3) + self.spacing * steps  # z in the head, mm
        self.tilt = math.radians(rng.uniform(4, 18)) if rng.random() < 0.91 else 0.0
        self.rotation = _rotation(*np.radians(rng.normal(0, [3, 2.5, 5])).tolist())
        self.offset = rng.normal([0, -6], 5).tolist()  # mm, of the middle of the image from that of the head
        self.origin = rng.uniform(-150, 250)  # z of the head in the scanner's coordinates
        self.window = list(WINDOWS)[rng.choice(len(WINDOWS), p=list(WINDOWS.values()))]
        self.padding = list(PADDINGS)[rng.choice(len(PADDINGS), p=list(PADDINGS.values()))]
        axis = ((np.arange(self.size) - (self.size - 1) / 2) * self.pixel).astype(np.float32)
        self.across, self.down = axis, axis[:, None]
        self.outside = np.hypot(self.across, self.down) > self.size * self.pixel / 2
        self.deviation = rng.uniform(2.8, 5.4) * (0.7 + 0.5 * _bell(np.hypot(self.across, self.down) / 75))  # HU
        self.table, self.table_hu = self._table(rng), rng.uniform(60, 250)
        self.tiles = [self._tile(rng) for _ in range(2)]
        self.mixes = rng.uniform(0, 2 * math.pi, count).tolist()
        self.shifts = rng.integers(self.size, size=(count, 2, 2))

    def _table(self, rng: np.random.Generator) -> np.ndarray:
        """Share of each pixel that the table takes: a cradle, the bars of a head rest, or none in view."""
        radius, bottom = rng.uniform([105, 108], [150, 118]).tolist()
        kind = rng.choice(3, p=[0.6, 0.2, 0.2])
        if kind == 0:
            ring = abs(np.hypot(self.across, self.down - bottom + radius) - radius)
            return _ramp(1.6 - ring) * _ramp((self.down - bottom + 0.75 * radius) / 2)
        bars = abs(abs(self.across) - 100 - 0.04 * self.down)
        return (kind == 1) * _ramp(1.5 - bars) * _ramp(self.down / 2) * _ramp((55 - self.down) / 2)

    def _tile(self, rng: np.random.Generator) -> np.ndarray:
        """Noise of variance 1 with the spectrum that a smooth reconstruction kernel leaves.

        At 0.49 mm, and with structures of more than 3 pixels taken out, the correlation of pixels at a distance of 1,
        2 and 3 is 0.6, 0.05 and -0.15, as it is in the flat regions of real slices.
        """
        white = rng.standard_normal((self.size, self.size), dtype=np.float32)
        down, across = np.fft.fftfreq(self.size, self.pixel)[:, None], np.fft.rfftfreq(self.size, self.pixel)
        frequency = np.hypot(down, across)  # cycles/mm
        tile = np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(frequency) * _bell(frequency / 0.48), s=white.shape)
        return (tile / tile.std()).astype(np.float32)

    def _noise(self, index: int) -> np.ndarray:
        """Mix the two tiles, shifted, to the noise of a slice in HU."""
        one, other = (np.roll(*pair, (0, 1)) for pair in zip(self.tiles, self.shifts[index], strict=True))
        return self.deviation * (math.cos(self.mixes[index]) * one + math.sin(self.mixes[index]) * other)

    def grid(self, index: int, rows: np.ndarray, columns: np.ndarray) -> Grid:
        """Where pixels of a slice lie in the head; rows and columns may lie beyond the image."""
        level = float(self.levels[index])
        middle, quarter = (self.size - 1) / 2, min(self.spacing, 5.0) / 4
        across = (columns - middle) * self.pixel + self.offset[0]
        down = (rows - middle) * self.pixel + self.offset[1] - level * math.tan(self.tilt)
        up = np.array([level - quarter, level + quarter])
        return Grid(across.astype(np.float32), down.astype(np.float32), up, self.rotation)

    def position(self, index: int) -> list[float]:
        """ImagePositionPatient: in a tilted series only z changes, and slices shift against each other."""
        x, y = (float(self.across[0]) + offset for offset in self.offset)
        y *= math.cos(self.tilt)
        return [x, y, self.origin + (float(self.levels[index]) - y * math.sin(self.tilt)) / math.cos(self.tilt)]

    def slice(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Make one slice.

        Returns
        -------
        hu : float32 array, shape (size, size)
            Hounsfield units with noise, without padding.
        masks : bool array, shape (5, size, size)
            Where there is blood, in the order of SUBTYPES.
        """
        hu = np.full((self.size, self.size), AIR, np.float32)
        masks = np.zeros((len(SUBTYPES), self.size, self.size), bool)
        stride = max(self.size // 32, 1)
        coarse = np.arange(0, self.size + stride, stride)
        grid = self.grid(index, coarse, coarse)
        near = np.any(_shell(self.head, grid, self.head.template(grid)).skin < grid.spacing + 4, axis=0)
        if near.any():  # only the box that holds the head is computed
            finer = self.pixel < 0.75
            rows, columns = (
                np.arange(coarse[hit][0], coarse[hit][-1] + stride + 1, 2 if finer else 1)
                for hit in (np.any(near, axis=1), np.any(near, axis=0))
            )
            image, found = _head(self.head, self.lesions, self.grid(index, rows, columns), finer)
            box = np.s_[rows[0] : rows[0] + image.shape[0], columns[0] : columns[0] + image.shape[1]]
            height, width = hu[box].shape
            hu[box] = image[:height, :width]
            for name, mask in found.items():
                masks[SUBTYPES.index(name)][box] = mask[:height, :width]
        hu = _blend(hu, np.maximum(hu, self.table_hu), self.table)
        return hu + self._noise(index), masks

    def labels(self, masks: np.ndarray) -> list[int]:
        """Labels of a slice in the order of CLASSES: blood of a kind counts where it covers LABEL_AREA."""
        present = (np.count_nonzero(masks, axis=(1, 2)) * self.pixel**2 >= LABEL_AREA).astype(int).tolist()
        return [*present, max(present)]


def _rotation(pitch: float, roll: float, yaw: float) -> np.ndarray:
    """Directions of the image's columns, rows and normal in the coordinates of a head turned by three angles."""
    (a, b, c), (d, e, f) = np.cos([pitch, roll, yaw]).tolist(), np.sin([pitch, roll, yaw]).tolist()
    about_x = np.array([[1, 0, 0], [0, a, -d], [0, d, a]])
    about_y = np.array([[b, 0, e], [0, 1, 0], [-e, 0, b]])
    about_z = np.array([[c, -f, 0], [f, c, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


@threadpool_limits.wrap(limits=1, user_api="blas")  # the number of threads changes the last bit of a product
def volume(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """Make a whole series without writing it.

    Parameters
    ----------
    series : Series
        One of those that `plan` draws; `dataclasses.replace(series, subtypes=...)` gives it other haemorrhages.

    Returns
    -------
    hu : float32 array, shape (slices, size, size)
        Hounsfield units with noise, from the lowest slice to the highest, without padding.
    masks : bool array, shape (slices, 5, size, size)
        Where there is blood, in the order of SUBTYPES.
    """
    scan = Scan(series)
    hu, masks = zip(*(scan.slice(index) for index in range(len(series.image_ids))), strict=True)
    return np.stack(hu), np.stack(masks)


# ---------------------------------------------------------------------------------------------------------------------
# The data set


def _spread(rng: np.random.Generator, weights: Iterable[float], count: int) -> np.ndarray:
    """Draw indices in random order, each as often as its weight says to within one."""
    edges = np.cumsum(list(weights))
    return rng.permutation(np.searchsorted(edges, edges[-1] * (np.arange(count) + rng.random()) / count, side="right"))


def plan(
    *,
    patients: int,
    slices: tuple[int, int],
    size: int = 512,
    prevalence: float,
    evenness: float = 0,
    seed: int,
) -> list[Series]:
    """Draw the series of a data set, patient by patient, without making them.

    Parameters
    ----------
    patients : int
    slices : tuple of int
        Fewest and most slices of a series.
    size : int
        Rows and columns of a slice.
    prevalence : float
        Share of the series that hold a haemorrhage.
    evenness : float
        Combinations of subtypes are drawn with their real frequencies to the power of 1 - `evenness`: 0 as they are in
        the RSNA data, where epidural is rare; 1 all equally often.
    seed : int

    Returns
    -------
    list of Series
    """
    if not 1 < slices[0] <= slices[1]:
        raise InputError(f"slices of a series: {slices[0]} to {slices[1]}; write the fewest (2 or more) and the most")
    root = np.random.SeedSequence(seed)
    draws, *heads = root.spawn(1 + patients)
    rng = np.random.default_rng(draws)
    studies = np.array(list(STUDIES))[_spread(rng, STUDIES.values(), patients)]
    owners = np.repeat(np.arange(patients), studies)
    count = len(owners)
    lengths = rng.integers(slices[0], slices[1], count, endpoint=True)
    positive = rng.permutation(count) < round(prevalence * count)
    frequencies = [frequency ** (1 - evenness) for frequency in COMBINATIONS.values()]
    combinations = iter(_spread(rng, frequencies, int(positive.sum())))
    families = _spread(rng, (family.share for family in FAMILIES), count)
    implicit = rng.random(count) < 0.12
    repeated = rng.integers(count)
    patient_ids, study_ids, series_ids = (
        _ids(rng, digits, number) for digits, number in ((8, patients), (10, count), (10, count))
    )
    image_ids = iter(_ids(rng, 9, int(lengths.sum())))
    found = []
    for index, owner in enumerate(owners):
        bits = list(COMBINATIONS)[next(combinations)] if positive[index] else "00000"
        disease, scan = draws.spawn(2)
        found.append(
            Series(
                patient_id=patient_ids[owner],
                study_id=study_ids[index],
                series_id=series_ids[index],
                image_ids=tuple(islice(image_ids, int(lengths[index]))),
                subtypes=tuple(name for name, bit in zip(SUBTYPES, bits, strict=True) if bit == "1"),
                size=size,
                family=FAMILIES[families[index]],
                implicit=bool(implicit[index]),
                repeated=bool(index == repeated),
                streams=(heads[owner], disease, scan),
            )
        )
    return found


def _ids(rng: np.random.Generator, digits: int, count: int) -> list[str]:
    """Distinct identifiers in the form of the RSNA data."""
    return [f"ID_{number:0{digits}x}" for number in rng.choice(16**digits, count, replace=False).tolist()]


def _stored(hu: np.ndarray, family: Family) -> np.ndarray:
    """Hounsfield units as a family of scanners stores them."""
    if family.wraps:
        return (np.rint(np.clip(hu, -1000, 3095)).astype(np.int32) % 4096).astype("<u2")
    lowest = -(2 ** (family.bits - 1)) if family.signed else 0
    stored = np.clip(np.rint(hu) - family.intercept, lowest, lowest + 2**family.bits - 1)
    return stored.astype("<i2" if family.signed else "<u2")


def _dicom(series: Series, scan: Scan, index: int, hu: np.ndarray) -> bytes:
    """Encode a slice as the RSNA data has it: 22 elements, identifiers that are no legal UIDs, bare pixels."""
    family, (center, width) = series.family, scan.window
    stored = _stored(hu, family)
    if family.signed and scan.padding is not None:
        stored[scan.outside] = scan.padding
    cos, sin = math.cos(scan.tilt), math.sin(scan.tilt)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(f"9999.{int(series.image_ids[index][3:], 16)}")
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if series.implicit else ExplicitVRLittleEndian
    if not series.implicit:  # the implicit files carry no group length
        meta.FileMetaInformationGroupLength = 0
        meta.FileMetaInformationVersion = b"\0\1"
        meta.ImplementationClassUID = UID("1.2.40.0.13.1.1.1")
        meta.ImplementationVersionName = "dcm4che-1.4.38"
    data = Dataset()
    data.file_meta, data.preamble = meta, bytes(128)
    data.SOPInstanceUID, data.Modality = series.image_ids[index], "CT"
    data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID = series.patient_id, series.study_id, series.series_id
    data.StudyID = ""
    data.ImagePositionPatient = [f"{value:.6f}" for value in scan.position(index)]
    data.ImageOrientationPatient = [f"{value:.6f}" for value in (1, 0, 0, 0, cos, -sin)]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = hu.shape
    data.PixelSpacing = [f"{scan.pixel:.6f}"] * 2
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, family.bits, family.bits - 1
    data.PixelRepresentation = int(family.signed)
    data.WindowCenter, data.WindowWidth = (list(each) if isinstance(each, tuple) else each for each in (center, width))
    data.RescaleIntercept, data.RescaleSlope = str(family.intercept), "1"
    data.add_new("PixelData", "OW", stored.tobytes())
    file = BytesIO()
    dcmwrite(file, data, enforce_file_format=False)
    return file.getvalue()


@threadpool_limits.wrap(limits=1, user_api="blas")
def _write(series: Series, folder: Path, truncated: str) -> list[list[int]]:
    """Make a series, write its files, and return the labels of its slices."""
    scan = Scan(series)
    labels = []
    with pydicom_config.disable_value_validation():
        for index, image_id in enumerate(series.image_ids):
            hu, masks = scan.slice(index)
            content = _dicom(series, scan, index, hu)
            (folder / f"{image_id}.dcm").write_bytes(content[: -hu.size] if image_id == truncated else content)
            labels.append(scan.labels(masks))
    return labels


def generate(
    root: Path = Path(),
    *,
    labels: str | Path = "stage_2_train.csv",
    dicom: str | Path = "stage_2_train",
    patients: int,
    slices: tuple[int, int],
    size: int = 512,
    prevalence: float,
    evenness: float = 0,
    seed: int,
    processes: int = 1,
) -> None:
    """Write a data set as Kaggle ships the RSNA data, with its known defects.

    One file is truncated (its header reads, half of its pixels are missing), four slices are listed twice in the label
    file, one series holds a position twice, and some series have the wrong intercept of some 12-bit scanners. The
    same seed gives the same bytes, whatever the number of processes. The label file is written last: where it stands,
    the data set is whole.

    Parameters
    ----------
    root : path
        Folder of the data set.
    labels, dicom : path
        Label file and folder of slices, relative to `root`.
    patients, slices, size, prevalence, evenness, seed
        As in `plan`.
    processes : int
        How many processes make series at the same time.

    Raises
    ------
    InputError
        Something is there already under one of the names.
    """
    labels, dicom = root / labels, root / dicom
    if labels.exists() or (dicom.exists() and any(dicom.iterdir())):
        raise InputError(f"{labels} or {dicom} is there already; remove both, or make the data set elsewhere")
    found = plan(patients=patients, slices=slices, size=size, prevalence=prevalence, evenness=evenness, seed=seed)
    image_ids = [image_id for series in found for image_id in series.image_ids]
    rng = np.random.default_rng([seed, 1])
    truncated = str(rng.choice(image_ids))
    listed = rng.permutation(image_ids + rng.choice(image_ids, DUPLICATES, replace=False).tolist()).tolist()

    unfinished = dicom.with_name(f".{dicom.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    write = partial(_write, folder=unfinished, truncated=truncated)
    if processes == 1:
        rows = [write(series) for series in found]
    else:  # fork: the main module of a Snakemake script cannot be imported a second time
        with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
            rows = list(pool.map(write, found))
    unfinished.replace(dicom)

    label = dict(zip(image_ids, chain.from_iterable(rows), strict=True))
    lines = [
        f"{image_id}_{name},{value}"
        for image_id in listed
        for name, value in zip(CLASSES, label[image_id], strict=True)
    ]
    write_text("\n".join(["ID,Label", *lines, ""]), labels)
    logging.info("%d slices of %d series and %d patients in %s", len(image_ids), len(found), patients, dicom)
