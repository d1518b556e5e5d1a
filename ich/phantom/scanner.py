"""A series as a scanner makes it: its geometry, noise and stored values."""

import math
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from ich.base.classes import SUBTYPES
from ich.phantom.anatomy import Head, make_shell
from ich.phantom.geometry import Grid, bell, blend, ramp
from ich.phantom.lesions import draw_lesions
from ich.phantom.tissue import AIR, draw_head

LABEL_AREA = 60.0  # mm²: a slice bears a label where blood of that kind covers as much; less, no reader would call

# Windows as scanners write them in the header, and the share of series that have each.
WINDOWS = {
    (("00036", "00036"), ("00080", "00080")): 0.40,
    ("30", "80"): 0.31,
    ("40", "150"): 0.14,
    (("00040", "00040"), ("00080", "00080")): 0.07,
    (("00047", "00047"), ("00080", "00080")): 0.04,
    ("35.000000", "135.000000"): 0.04,
}


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
        self.lesions = draw_lesions(disease, self.head, series.subtypes)
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
        self.deviation = rng.uniform(2.8, 5.4) * (0.7 + 0.5 * bell(np.hypot(self.across, self.down) / 75))  # HU
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
            return ramp(1.6 - ring) * ramp((self.down - bottom + 0.75 * radius) / 2)
        bars = abs(abs(self.across) - 100 - 0.04 * self.down)
        return (kind == 1) * ramp(1.5 - bars) * ramp(self.down / 2) * ramp((55 - self.down) / 2)

    def _tile(self, rng: np.random.Generator) -> np.ndarray:
        """Noise of variance 1 with the spectrum that a smooth reconstruction kernel leaves.

        At 0.49 mm, and with structures of more than 3 pixels taken out, the correlation of pixels at a distance of 1,
        2 and 3 is 0.6, 0.05 and -0.15, as it is in the flat regions of real slices.
        """
        white = rng.standard_normal((self.size, self.size), dtype=np.float32)
        down, across = np.fft.fftfreq(self.size, self.pixel)[:, None], np.fft.rfftfreq(self.size, self.pixel)
        frequency = np.hypot(down, across)  # cycles/mm
        tile = np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(frequency) * bell(frequency / 0.48), s=white.shape)
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
        near = np.any(make_shell(self.head, grid, self.head.template(grid)).skin < grid.spacing + 4, axis=0)
        if near.any():  # only the box that holds the head is computed
            finer = self.pixel < 0.75
            rows, columns = (
                np.arange(coarse[hit][0], coarse[hit][-1] + stride + 1, 2 if finer else 1)
                for hit in (np.any(near, axis=1), np.any(near, axis=0))
            )
            image, found = draw_head(self.head, self.lesions, self.grid(index, rows, columns), finer)
            box = np.s_[rows[0] : rows[0] + image.shape[0], columns[0] : columns[0] + image.shape[1]]
            height, width = hu[box].shape
            hu[box] = image[:height, :width]
            for name, mask in found.items():
                masks[SUBTYPES.index(name)][box] = mask[:height, :width]
        hu = blend(hu, np.maximum(hu, self.table_hu), self.table)
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
