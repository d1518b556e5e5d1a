"""The parts of a head, and how one head differs from another."""

import math
from dataclasses import dataclass

import numpy as np

from ich.phantom.geometry import Ball, Grid, Points, Tube, Waves, bell, blend, ramp, squared_slope, union

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


def skull_floor(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the floor of the cavity: three fossae, the ridges between them, sella, clivus and foramen magnum."""
    side = abs(x)
    wing = y + 12 + 0.42 * np.maximum(side - 12, 0)  # behind the sphenoid ridge where positive
    petrous = y - 5 - 0.6 * side  # behind the petrous ridge
    anterior = -20 + 8 * bell((side - 31) / 16) * bell((y + 55) / 30)
    middle = np.minimum(-41 + 0.014 * ((side - 36) ** 2 + (y + 2) ** 2), -31)
    posterior = np.minimum(-64 + 0.011 * (side * side + (y - 42) ** 2), -38)
    floor = blend(blend(anterior, middle, ramp(wing / 9)), posterior, ramp(petrous / 11))
    floor += 4 * bell(wing / 5) * ramp((52 - side) / 12)
    floor += 13 * bell(petrous / (8 + 0.08 * side)) * ramp((side - 9) / 8)
    clivus = np.maximum(-21 - 6 * bell((y + 4) / 5) + 6 * bell((y - 5) / 3) - 1.6 * np.maximum(y - 7, 0), -62)
    floor = blend(floor, clivus, ramp((17 - side) / 9) * ramp((34 - y) / 6) * ramp((y + 26) / 10))
    return floor - 45 * ramp((16 - np.hypot(side, y - 40)) / 2.5)


def behind_coronal(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Distance behind the coronal suture."""
    return y + 38 - 0.29 * z


def before_lambdoid(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Distance before the lambdoid suture."""
    return 72 - 0.5 * abs(x) + 0.3 * z - y


def suture_distance(bone: str, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Distance from the sutures that bound a bone of the vault; positive inside the bone."""
    coronal, lambdoid = behind_coronal(y, z), before_lambdoid(x, y, z)
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
        a = 73 * (1 + self.egg * np.clip(y, -100, 100) / 91 - 0.05 * bell((y + 52) / 16) * ramp((25 - z) / 30))
        b, c = 91, np.where(z > 0, np.float32(86), np.float32(150))
        u, v, w = (x / a) ** 2, (y / b) ** 2, (z / c) ** 2
        square = u + v + w - self.square * u * v - 0.25 * (z > 0) * (u + v) * w
        r = np.sqrt(np.maximum(square, 1e-6))
        return (r - 1) * r / np.sqrt(u / (a * a) + v / (b * b) + w / (c * c) + 1e-10)

    def thickness(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Thickness of the skull: thin at the temples, thick at the occipital and frontal crests."""
        side = abs(x)
        thin = 0.4 * self.bone * bell((y + 8) / 38) * bell((z + 8) / 26) * ramp((side - 45) / 15)
        crest = 4.5 * bell(x / 13) * bell((z + 14) / 16) + 1.5 * bell((z + 18) / 9) * ramp((45 - side) / 20)
        frontal = 2.2 * bell(x / 5) * bell((z - 5) / 30)
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


def make_shell(head: Head, grid: Grid, p: Points) -> Shell:
    """Return the surfaces of skin, skull and cavity at the points of a slice."""
    x, y, z = p
    side, lumps, cells = abs(x), head.lumps(grid), head.cells(grid)
    outer = head.vault(*p)
    inner = outer + head.thickness(*p) + 0.16 * head.bone * lumps
    scalp = head.scalp * (1 + 0.12 * lumps)
    scalp += 4 * bell((y + 35) / 22) * bell((z + 8) / 26) * ramp((side - 40) / 15)
    scalp += 9 * ramp((-z - 32) / 25) * ramp((y - 20) / 20)
    skin, bone, cavity, base = outer - scalp, outer, inner, None
    frontal = Ball((13, -91 + 3 * head.sinus, -6), (15 * head.sinus, 0.5 + 4.6 * head.sinus, 15 * head.sinus))
    air = frontal(side, y, z) + 1.6 * cells
    if z.min() < 8:
        floor = skull_floor(x, y)
        base = (floor - z) / np.sqrt(1 + np.minimum(squared_slope(floor, grid.spacing), 5))
        cavity = np.maximum(inner, base)
        septa = abs(cells)
        honeycomb = np.maximum(union([MASTOID_CELLS], side, y, z), -1.5 * head.grain(grid) - 0.15)
        ethmoid = np.maximum(union([ETHMOID], side, y, z), 3 * (0.2 - septa))
        nasal = np.maximum(np.maximum(union([NASAL_CAVITY], side, y, z), 4 * (0.45 - septa)), 0.7 - side)
        for cave in (union(SINUSES, side, y, z) + 0.8 * cells, honeycomb, ethmoid, nasal):
            air = np.minimum(air, cave)
        orbit = np.maximum(abs(union([ORBIT], side, y, z)) - 0.8 - 0.8 * ramp((side - 30) / 10), -(y + 74))
        bone = np.maximum(outer, base - 2.8 - 0.6 * lumps)
        bone = np.minimum(np.minimum(bone, orbit), union(BONES, side, y, z) + 0.8 * cells)
        face, nose = FACE(*p) + 1.5 * lumps, union([NOSE], *p)
        face = np.minimum(face, nose) - 14 * ramp(0.5 - abs(face - nose) / 28) ** 2  # a smooth transition
        skin = np.minimum(np.minimum(skin, face), union([EAR], side, y, z) + 1.5 * cells)
    return Shell(skin, outer, inner, np.minimum(bone, air - 1.3), air, np.maximum(cavity, 1.6 - air), base)
