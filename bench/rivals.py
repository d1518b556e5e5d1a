"""The same slices by what a user would pick otherwise, each set up as its documentation shows.

MONAI and WebDataset are no dependencies of the project: `make bench` installs them beside it.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import torch
from torchvision.io import decode_image, write_png
from torchvision.transforms.v2.functional import resize

Windows = Sequence[tuple[float, float]]  # level and width in HU
Rival = tuple[Callable[[], object], Callable[[list[int]], object]]  # prepares all slices; reads a batch of some


def windowed(path: Path, windows: Windows, size: int) -> torch.Tensor:
    """Window and resize a slice in the ordinary way: pydicom, NumPy and torchvision."""
    file = pydicom.dcmread(path)
    hu = file.pixel_array * float(file.RescaleSlope) + float(file.RescaleIntercept)
    grey = [
        np.clip((hu - level + width / 2) / width * 255, 0, 255).round().astype(np.uint8) for level, width in windows
    ]
    return resize(torch.from_numpy(np.stack(grey)), [size, size], antialias=True)


def png(files: Sequence[Path], windows: Windows, size: int, folder: Path) -> Rival:
    """Make a PNG file of each slice, its windows as red, green and blue, and read it with torchvision."""

    def prepare() -> None:
        for number, path in enumerate(files):
            write_png(windowed(path, windows, size), str(folder / f"{number}.png"))

    return prepare, lambda batch: torch.stack([decode_image(str(folder / f"{number}.png")) for number in batch])


def monai(files: Sequence[Path], windows: Windows, size: int, folder: Path) -> Rival:
    """Make slices by MONAI's transforms and keep them in its PersistentDataset, as bytes to be fair."""
    from monai import transforms
    from monai.data import PersistentDataset

    greys = [
        transforms.ScaleIntensityRange(level - width / 2, level + width / 2, 0, 255, clip=True)
        for level, width in windows
    ]
    transform = transforms.Compose(
        [
            transforms.LoadImage(reader="PydicomReader", image_only=True),
            transforms.EnsureChannelFirst(),
            transforms.Lambda(lambda hu: torch.cat([grey(hu) for grey in greys])),
            transforms.Resize((size, size), mode="bilinear"),
            transforms.CastToType(torch.uint8),
        ]
    )
    dataset = PersistentDataset(list(files), transform, cache_dir=folder)

    def prepare() -> None:
        dataset.set_data(list(files))  # forgets what it has
        for number in range(len(files)):
            dataset[number]

    return prepare, lambda batch: torch.stack([torch.as_tensor(dataset[number]) for number in batch])


def webdataset(files: Sequence[Path], windows: Windows, size: int, folder: Path) -> Rival:
    """Pack slices as arrays in a tar file, which WebDataset reads from one end to the other through a shuffled buffer.

    It has no random access, so a batch is whatever comes next.
    """
    import webdataset as wds

    path = str(folder / "slices.tar")

    def prepare() -> None:
        with wds.TarWriter(path) as tar:
            for number, file in enumerate(files):
                tar.write({"__key__": str(number), "image.npy": windowed(file, windows, size).numpy()})

    def batches():
        dataset = wds.WebDataset(path, shardshuffle=False).shuffle(256, rng=random.Random(0)).decode()
        while True:
            yield from dataset.to_tuple("image.npy").batched(32)

    stream = batches()
    return prepare, lambda batch: next(stream)


RIVALS = {
    "MONAI, PersistentDataset": monai,
    "PNG files, torchvision": png,
    "WebDataset (reads in file order)": webdataset,
}
