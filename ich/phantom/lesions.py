"""Haemorrhages: where blood collects, and how it is drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ich.base.classes import SUBTYPES
from ich.phantom.anatomy import Head, suture_distance
from ich.phantom.geometry import FAR, Ball, Waves, ramp

OEDEMA = 11.0  # HU below white matter
Blood = dict[str, tuple[np.ndarray, float]]  # share of each pixel, and HU, of a subtype


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
            return np.where(x * a > 0, np.minimum(lens, 0.8 * suture_distance(self.bone, x, y, z)), -1)
        crescent = self.thickness * np.sqrt(np.maximum(near, 0))
        crescent *= ramp((math.copysign(1, a) * x - 3) / 10) * ramp((z + 24) / 12)
        return crescent + (0.7 * rough - 0.3) * ramp(crescent / 3) - 0.6 * (crescent <= 0)


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


def draw_lesions(rng: np.random.Generator, head: Head, subtypes: Sequence[str]) -> Lesions:
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
