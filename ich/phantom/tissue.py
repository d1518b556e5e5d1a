"""Hounsfield units of a head on a plane."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from ich.phantom.anatomy import (
    BRAINSTEM,
    CALLOSUM,
    CEREBELLAR_WHITE,
    CISTERNS,
    DEEP_GREY,
    GLOBE,
    LATERAL_VENTRICLES,
    LENS,
    MIDLINE_VENTRICLES,
    MUSCLES,
    NOSE,
    OPTIC,
    ORBIT,
    TEMPORALIS,
    Head,
    Shell,
    before_lambdoid,
    behind_coronal,
    make_shell,
)
from ich.phantom.geometry import (
    FAR,
    Ball,
    Grid,
    Points,
    bell,
    blend,
    coverage,
    ramp,
    refined,
    sheet,
    squared_slope,
    union,
)
from ich.phantom.lesions import OEDEMA, Blood, Lesions

AIR, FAT, SKIN, MUSCLE, DURA, VITREOUS = -1000.0, -98.0, 30.0, 56.0, 58.0, 9.0  # HU


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
    parenchyma = np.maximum(shell.cavity + head.gap * (1 + 0.5 * ramp(-y / 60)), shell.cavity + layers + 0.3)
    tentorium = z + 20 - 27 * ramp(1 - side / 46) * ramp(1 - (y - 38) / 46)
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
        width = width + lesions.film.grow * ramp((lesions.film.radius - _away(lesions.film.centre, p)) / 8)
    centre = gyri / np.sqrt(squared_slope(gyri, grid.spacing) + rise * rise + 0.02**2)
    sulci = np.sqrt(centre * centre + beyond * beyond) - np.maximum(width * (1 - 0.45 * pial / depth), -1)
    sulci += 8 * ramp(1 - infratentorial / 3)
    cortex = np.minimum(pial, sulci) - 3.1 - 0.5 * patches

    wx, wy, wz = (wave(grid) for wave in head.wobble)
    cisterns = union(CISTERNS, abs(x + 3.2 * wx), y + 3.2 * wy, z + 1.3 * wz) + 0.5 - 0.7 * head.sulcus + 0.6 * patches
    cisterns = np.where(infratentorial < 6, np.maximum(cisterns, -union(BRAINSTEM, x, y, z)), cisterns)
    fissure = np.maximum(abs(midline) - head.fissure * (1 - 0.4 * patches), np.maximum(-callosum, -infratentorial))
    sulci = np.minimum(np.minimum(sulci, cisterns), fissure)

    grow = max(head.ventricle, 0) * 0.7 + lesions.flood.grow if lesions.flood else head.ventricle
    bent = abs(x + 1.3 * wx)
    lateral = union(LATERAL_VENTRICLES, bent + 0.4, y + 1.3 * wy, 0.8 * (z + 1.3 * wz) + 1)
    lateral = np.maximum(lateral - grow - head.lopsided * np.sign(x), 1 - side)  # the septum keeps them apart
    middle = union(MIDLINE_VENTRICLES, x, y, z) - 0.25 * grow
    ventricles = np.minimum(lateral, middle) + 0.5 * patches
    return Brain(parenchyma, midline, callosum, tentorium, infratentorial, cortex, sulci, lateral, ventricles)


def _away(centre: tuple[float, float, float], p: Points) -> np.ndarray:
    return np.sqrt(sum((c - m) ** 2 for c, m in zip(p, centre, strict=True)))


def _tissue(head: Head, grid: Grid, brain: Brain, p: Points) -> np.ndarray:
    """Hounsfield units of grey and white matter, as if the brain filled the cavity."""
    cover = partial(coverage, blur=max(grid.spacing, 1.0))
    x, y, z = p
    stem = union(BRAINSTEM, *p)
    hu = head.white + 0.8 * head.mottle(grid)[0]
    hu = blend(hu, head.grey, cover(brain.cortex))
    hu = blend(hu, head.grey, 0.9 * cover(union(DEEP_GREY, abs(x), y, z) + 0.8 * head.patches(grid)))
    cerebellum = head.grey - 3 + 1.2 * head.folia(grid)[0]
    cerebellum -= 4 * cover(np.minimum(stem, union([CEREBELLAR_WHITE], abs(x), y, z)))
    hu = blend(hu, cerebellum, cover(brain.infratentorial))
    return hu - head.pallor * ramp(1 - abs(brain.lateral.mean(0)) / 6)


def _dura(head: Head, grid: Grid, brain: Brain, shell: Shell, p: Points, hu: np.ndarray) -> np.ndarray:
    """Lay falx, tentorium, sagittal sinus and the usual calcifications over the brain."""
    blur = max(grid.spacing, 1.0)
    x, y, z = p
    above = 1 - coverage(brain.infratentorial, blur)
    falx = sheet(brain.midline, 0.75, blur) * coverage(-brain.callosum - 3, blur) * above
    hu = blend(hu, DURA, falx)
    slope = np.sqrt(1 + squared_slope(z - brain.tentorium, grid.spacing))
    notch = np.sqrt((x[0] / 22) ** 2 + ((y[0] - 12) / 25) ** 2) - 1
    behind = y[0] > 3 + 0.6 * abs(x[0])
    hu = blend(hu, DURA, 0.8 * sheet(brain.tentorium / slope, 0.8, blur) * ramp(8 * notch) * behind)
    sinus = np.hypot(x, np.minimum(shell.cavity, 0)) - 4.5
    hu = blend(hu, DURA, 0.8 * coverage(sinus, blur) * (y[0] > 40))
    for radius, centre, value in ((head.pineal, (0.5, 27, 0), 220), (head.plexus, (22, 36, 10), 130)):
        if radius:
            stone = Ball(centre, (radius, 1.3 * radius, 1.4 * radius))
            hu = blend(hu, value, coverage(union([stone], abs(x), y, z), blur))
    return hu


def _inside(head: Head, lesions: Lesions, grid: Grid, p: Points, shell: Shell) -> tuple[np.ndarray, Blood]:
    """Hounsfield units within the cavity, and the share of each pixel that each kind of blood takes."""
    cover = partial(coverage, blur=max(grid.spacing, 1.0))
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
        hu = blend(hu, head.white - OEDEMA, ramp(0.5 + (clot.rim - surface.mean(0)) / 5))
        blood["intraparenchymal"] = cover(surface) * (1 - ventricle) * parenchyma, clot.hu
    hu = blend(hu, head.fluid, np.maximum(np.maximum(sulcus, 1 - parenchyma), ventricle))
    if film := lesions.film:
        near = ramp((film.radius - _away(film.centre, p).mean(0)) / 7) * ramp(1.2 + 0.5 * rough[0])
        near *= ramp((p[2][0] + 30) / 6)  # the lowest cisterns lie between bones, where no reader would see it
        blood["subarachnoid"] = sulcus * (1 - ventricle) * cover(shell.cavity + deep) * near, film.hu
    if flood := lesions.flood:
        share = ventricle * ramp(0.5 + (grid.down[:, None] - flood.level) / 2)
        if flood.level > -FAR or flood.side:
            share = share * (brain.lateral.mean(0) < 2) * (flood.side * p[0][0] >= 0)
        blood["intraventricular"] = share, flood.hu
    texture = 3 * lesions.texture(grid)[0]
    for name in ("subarachnoid", "intraparenchymal", "intraventricular", "subdural", "epidural"):
        if name in blood:
            share, value = blood[name]
            hu = blend(hu, value + texture, share)
    hu = _dura(head, grid, brain, shell, p, hu)
    # The scanner's correction for the skull goes a little too far.
    hu += 3.5 * np.exp(np.minimum(shell.cavity[0], 0) / 5)
    if shell.base is not None:  # beam hardening between the petrous bones
        x, y, z = (c[0] for c in p)
        hu -= 9 * bell((y - 16) / 7) * ramp((46 - abs(x)) / 10) * bell((z + 36) / 11)
    return hu, blood


def _around(head: Head, grid: Grid, p: Points, shell: Shell) -> tuple[np.ndarray, np.ndarray]:
    """Hounsfield units of the soft tissue outside the skull, and of bone, each as if it filled the head."""
    cover = partial(coverage, blur=max(grid.spacing, 1.0))
    x, y, z = p
    side, cells, lumps, grain = abs(x), head.cells(grid), head.lumps(grid), head.grain(grid)[0]
    bone = abs((shell.inner + shell.outer) / (shell.inner - shell.outer)).mean(0)  # 0 in the diploe, 1 on the tables
    bone = blend(head.diploe, head.cortical, ramp((bone - 0.35) / 0.45)) * (1 + 0.1 * grain)
    seams = sheet(behind_coronal(y, z) + 1.2 * cells, 0.4, 1.0)
    seams = seams + sheet(before_lambdoid(x, y, z) + 1.5 * cells, 0.4, 1.0)
    bone = blend(bone, 250, 0.7 * ramp(seams) * (z[0] > -15))
    soft = FAT + 6 * lumps[0]
    muscle = np.maximum(union([TEMPORALIS], side, y, z), shell.skin + 5)
    if shell.base is not None:
        bone = blend(bone, 900 + 120 * grain, cover(-shell.base))
        fibres = 3 * (0.32 - abs(head.strands(grid)))
        muscle = np.minimum(muscle, np.maximum(shell.skin + 7 + 3 * lumps, fibres))
        muscle = np.minimum(muscle, np.maximum(union(MUSCLES, side, y, z) + 1.5 * cells, shell.skin + 4))
    soft = blend(soft, SKIN, cover(-2 - shell.skin))
    soft = blend(soft, MUSCLE + 3 * head.mottle(grid)[0], cover(muscle))
    if shell.base is not None:
        globe = union([GLOBE], side, y, z)
        soft = blend(soft, FAT, cover(union([ORBIT], side, y, z)))
        soft = blend(soft, MUSCLE - 16, cover(np.minimum(union(OPTIC, side, y, z), union([NOSE], *p) + 2)))
        soft = blend(soft, MUSCLE - 16, cover(globe))
        soft = blend(soft, VITREOUS, cover(globe + 1.4))
        soft = blend(soft, MUSCLE + 30, cover(union([LENS], side, y, z)))
    return soft, bone


def draw_head(head: Head, lesions: Lesions, grid: Grid, finer: bool) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Hounsfield units without noise and the masks of the haemorrhages, on the grid or at twice its resolution."""
    p = head.template(grid)
    shell = make_shell(head, grid, p)
    inside, blood = _inside(head, lesions, grid, p, shell)
    soft, bone = _around(head, grid, p, shell)

    def fine(field: np.ndarray) -> np.ndarray:
        return refined(field) if finer else field

    def cover(distance: np.ndarray) -> np.ndarray:  # bone and air are sharp: their edges are cut at full resolution
        below, above = distance
        return ramp(0.5 - fine((below + above) / 2) / (fine(2 * abs(above - below)) + blur))

    blur = max(grid.spacing / (2 if finer else 1), 0.9)
    hu = blend(fine(soft), fine(bone), cover(shell.bone))
    hu = blend(hu, AIR, cover(shell.air))
    hu = blend(hu, fine(inside), cover(shell.cavity))
    hu = blend(AIR, hu, cover(shell.skin))
    return hu, {name: fine(share) > 0.5 for name, (share, _) in blood.items()}
