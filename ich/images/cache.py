"""Shards of windowed images on disk: writing, checking, reading.

A shard is a plain .npy file of uint8 [slice, channel, height, width]; `numpy.load(path, mmap_mode="r")` opens it.
Beside it lies a .json with its checksum, its windows and size, and the slices whose image could not be made.
"""

import hashlib
import io
import os
import weakref
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.lib import format as npy

from ich.base.errors import DamagedArtifact, InputError
from ich.base.files import read_json, replacing, write_json
from ich.dicom.defects import Defect
from ich.dicom.pixels import read_stored, rescale
from ich.images.windowing import grey_table, look_up, slice_to_image

BLOCK = 2**22  # bytes written at a time: Linux then keeps them in large pages, from which it reads a third faster
MOST_OPEN = 256  # a process may commonly open 1024 files, and a cache may have more shards


def build_shard(
    slices: pd.DataFrame,
    windows: Sequence[Mapping[str, Any]],
    size: int,
    npy_path: str | os.PathLike,
    json_path: str | os.PathLike,
) -> None:
    """Write the images of one shard, slice by slice, and then its sidecar.

    A slice that cannot be decoded, or whose pixels all have one value, is a row of zeros and listed in the sidecar. The
    same slices give the same bytes.

    Parameters
    ----------
    slices : DataFrame
        The manifest's rows of this shard (`slices.SLICES_SCHEMA`) in the order of `row`, which counts from 0. May be
        empty.
    windows : sequence of mappings
        `name`, `level` and `width` (HU) of each channel.
    size : int
        Height and width of the images in pixels.
    npy_path : path
        The shard.
    json_path : path
        Its sidecar: sha256 (of the whole .npy file), windows, size, slices (their number), failed (image_id, row,
        location and reason of each).
    """
    if slices["row"].tolist() != list(range(len(slices))):
        raise ValueError("the slices of a shard must come in the order of their rows, none missing")
    levels = tuple((window["level"], window["width"]) for window in windows)
    blank = np.zeros((len(windows), size, size), np.uint8)
    checksum = hashlib.sha256()
    failed = []
    with replacing(npy_path) as partial, partial.open("wb", buffering=BLOCK) as file:

        def put(data: bytes | memoryview) -> None:
            checksum.update(data)
            file.write(data)

        put(_header(len(slices), len(windows), size))
        for index, row in enumerate(slices.itertuples(index=False)):
            try:
                image = slice_image(row, levels, size)
            except Defect as defect:
                image = blank
                failed.append(
                    {
                        "image_id": row.image_id,
                        "row": index,
                        "location": row.location,
                        "reason": defect.reason,
                    }
                )
            put(image.data)
    write_json(
        {
            "sha256": checksum.hexdigest(),
            "windows": [dict(window) for window in windows],
            "size": size,
            "slices": len(slices),
            "failed": failed,
        },
        json_path,
    )


def slice_image(row: Any, windows: tuple[tuple[float, float], ...], size: int) -> np.ndarray:
    """Make the image of a slice.

    Parameters
    ----------
    row : named tuple
        A row of the manifest.
    windows : tuple of (level, width)
        In HU.
    size : int
        Height and width of the image in pixels.

    Returns
    -------
    uint8 array [window, size, size]

    Raises
    ------
    Defect
        The pixels cannot be read or decoded, or have all one value.
    """
    stored, slope, intercept = read_stored(row)
    low, high = rescale(np.array([stored.min(), stored.max()]), slope, intercept)
    if low == high:
        raise Defect("constant image")
    if stored.itemsize > 2:
        return slice_to_image(rescale(stored, slope, intercept), windows, size).numpy()
    return look_up(stored, _table(stored.dtype, slope, intercept, windows), len(windows), size)


@lru_cache(64)  # the slices of a series, and mostly those of a data set, share it
def _table(kind: np.dtype, slope: float, intercept: float, windows: tuple[tuple[float, float], ...]) -> list[pa.Array]:
    stored = np.arange(256**kind.itemsize, dtype=f"u{kind.itemsize}").view(kind)
    return grey_table(rescale(stored, slope, intercept), windows)


def _header(slices: int, channels: int, size: int) -> bytes:
    """Give what stands before the pixels in a .npy file."""
    header = io.BytesIO()
    shape = (slices, channels, size, size)
    npy.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


class Cache:
    """The shards of a cache, read by shard and row.

    Images are read by `os.preadv` rather than through a memory map: a cache is usually larger than memory, and
    an image that is not in memory then costs its own bytes, where a map reads several times as much ahead. Files
    are opened on first use. Threads may share an instance and read at the same time.

    Parameters
    ----------
    paths : sequence of paths
        The .npy files in the order of the shards' numbers, each with its .json beside it.

    Attributes
    ----------
    windows : list of dict
        Name, level and width (HU) of each channel.
    size : int
        Height and width of the images in pixels.
    sha256 : list of str
        Checksum of each shard.
    failed : frozenset of str
        image_id of each slice that has no image.

    Raises
    ------
    InputError
        A shard is missing, short, unreadable or made with other windows or another size than the first.
    """

    def __init__(self, paths: Sequence[str | os.PathLike]):
        self._memory = _Memory()
        self.paths = files = [Path(path) for path in paths]
        self._open = lru_cache(MOST_OPEN)(lambda shard: _File(files[shard]))
        sidecars = [_sidecar(path) for path in self.paths]
        self.windows: list[dict[str, Any]] = sidecars[0]["windows"]
        self.size: int = sidecars[0]["size"]
        self._stride = len(self.windows) * self.size**2
        self._starts = []
        self.sha256: list[str] = []
        for path, sidecar in zip(self.paths, sidecars, strict=True):
            if (sidecar["windows"], sidecar["size"]) != (self.windows, self.size):
                raise _damaged(path, f"was made with other windows or another size than {self.paths[0]}")
            start = len(_header(sidecar["slices"], len(self.windows), self.size))
            expected = start + sidecar["slices"] * self._stride
            if path.stat().st_size != expected:
                raise _damaged(path, f"has {path.stat().st_size} bytes instead of {expected}")
            self._starts.append(start)
            self.sha256.append(sidecar["sha256"])
        self.failed = frozenset(line["image_id"] for sidecar in sidecars for line in sidecar["failed"])

    def verify(self) -> None:
        """Read every shard and compare it with its checksum.

        Raises
        ------
        DamagedArtifact
            Names the shard that is not what was written.
        InputError
            A shard cannot be read.
        """
        for path, expected in zip(self.paths, self.sha256, strict=True):
            try:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise _unreadable(path, error) from error
            if found != expected:
                raise _damaged(path, "does not have the checksum that stands in its .json file")

    def read(self, shard: np.ndarray, row: np.ndarray) -> torch.Tensor:
        """Read images.

        Parameters
        ----------
        shard, row : integer arrays [n]
            Where each image lies, as in the cohort table.

        Returns
        -------
        uint8 tensor [n, channel, height, width]

        Raises
        ------
        InputError
            Names the shard that cannot be read or ends too early.
        """
        images = self._memory.array((len(row), len(self.windows), self.size, self.size))
        places = images.reshape(len(row), self._stride)
        for place, number, index in zip(places, shard.tolist(), row.tolist(), strict=True):
            self._fill(place.data, number, index)
        return torch.from_numpy(images)

    def _fill(self, place: memoryview, shard: int, row: int) -> None:
        offset = self._starts[shard] + row * self._stride
        try:
            file = self._open(shard)
            while place:
                count = os.preadv(file.fileno(), [place], offset)
                if not count:
                    raise _damaged(self.paths[shard], f"ends before its row {row} does")
                place, offset = place[count:], offset + count
        except OSError as error:
            raise _unreadable(self.paths[shard], error) from error


class _File(io.FileIO):
    """An open file that closes itself once nobody holds it, be it the cache or a thread that reads."""

    def __del__(self) -> None:
        self.close()


class _Memory:
    """Memory for images that is used again as soon as nothing refers to them, by any thread.

    The system takes longer to give fresh memory, page by page, than the images to be read into it.
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """Give an array of uint8 with any content."""
        size = prod(shape)
        memory = np.empty(0, np.uint8)
        while memory.size < size:  # what is too small is let go
            try:
                memory = self._free.pop()
            except IndexError:
                memory = np.empty(size, np.uint8)
        array = memory[:size].reshape(shape)
        # A tensor that is made of this array refers to it, and views of the tensor do. Views of the array would not.
        weakref.finalize(array, self._free.append, memory).atexit = False
        return array


def failures(sidecars: Sequence[str | os.PathLike]) -> pd.DataFrame:
    """Gather the slices of some caches that have no image.

    Parameters
    ----------
    sidecars : sequence of paths
        The .json files of shards.

    Returns
    -------
    DataFrame
        image_id, location, stage ("cache") and reason; a slice that fails in several caches has one line.
    """
    lines = [line for path in sidecars for line in read_json(path)["failed"]]
    frame = pd.DataFrame(lines, columns=["image_id", "location", "reason"]).drop_duplicates()
    frame.insert(2, "stage", "cache")
    return frame.sort_values("image_id", ignore_index=True)


def _sidecar(path: Path) -> dict[str, Any]:
    """Read what stands beside a shard that is there."""
    if not path.exists():
        raise InputError(f"{path}: there is no such cache shard. Run again; the pipeline makes it.")
    beside = path.with_suffix(".json")
    try:
        sidecar = read_json(beside)
        return {key: sidecar[key] for key in ("sha256", "windows", "size", "slices", "failed")}
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"has no readable {beside.name} beside it") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _damaged(path: Path, problem: str) -> DamagedArtifact:
    return DamagedArtifact(_remedy(path, problem), path)


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(_remedy(path, f"cannot be read ({error.strerror})"))


def _remedy(path: Path, problem: str) -> str:
    return f"{path}: this cache shard {problem}. Delete it and run again; the pipeline makes it anew."
