"""What a model is fed: slices in batches, and random changes of the training images.

The order of the slices is a pure function of (seed, epoch), whatever the number of worker processes.
"""

import logging
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from ich.cache import Cache
from ich.errors import InputError
from ich.labels import CLASSES

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
T = TypeVar("T")


class SliceDataset(Dataset[Batch]):
    """Slices of a cohort with their images and labels, a batch at a time.

    Parameters
    ----------
    cohort : DataFrame
        The cohort's rows to use, commonly those of one part.
    cache : Cache
        Their images. Slices in `cache.failed` are left out, and said so.

    Attributes
    ----------
    rows : DataFrame
        The cohort's rows in use; the indices of a batch count them from 0.

    Raises
    ------
    InputError
        No slice is left.
    """

    def __init__(self, cohort: pd.DataFrame, cache: Cache):
        failed = cohort["image_id"].isin(cache.failed)
        if failed.any():
            logging.warning("%d of %d slices have no image in the cache and are left out", failed.sum(), len(cohort))
        if failed.all():
            raise InputError(
                "there is no slice with an image to train on or to predict; data/cohort.csv has the counts"
            )
        self.rows = cohort[~failed].reset_index(drop=True)
        self.cache = cache
        self._shard = self.rows["shard"].to_numpy()
        self._row = self.rows["row"].to_numpy()
        self._labels = torch.from_numpy(self.rows[list(CLASSES)].to_numpy(np.float32, copy=True))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Read a batch.

        Parameters
        ----------
        indices : list of int
            Positions in `rows`.

        Returns
        -------
        images : uint8 tensor [n, channel, height, width]
        labels : float32 tensor [n, class]
        indices : int64 tensor [n]
        """
        chosen = torch.tensor(indices)
        return self.cache.read(self._shard[indices], self._row[indices]), self._labels[chosen], chosen


def batches(slices: int, batch_size: int, seed: int | None, epoch: int) -> list[list[int]]:
    """Cut the indices of all slices into batches, each index once.

    Parameters
    ----------
    slices : int
        Number of slices.
    batch_size : int
        Slices in a batch; the last batch has what remains.
    seed : int or None
        Seed of a training order: random across all slices, and another in each epoch. Batch normalisation cannot train
        on a single slice, so a single slice that remains joins the batch before it. None keeps the order of the slices.
    epoch : int
        Number of the epoch.

    Returns
    -------
    list of lists of int

    Raises
    ------
    InputError
        A training order of one slice.
    """
    cuts = list(range(batch_size, slices, batch_size))
    order = np.arange(slices)
    if seed is not None:
        if slices == 1:
            raise InputError("the training part has one slice, and batch normalisation needs two; use more data")
        order = np.random.default_rng([seed, epoch]).permutation(slices)
        if cuts and slices - cuts[-1] == 1:
            cuts.pop()
    return [batch.tolist() for batch in np.split(order, cuts)]


def loader(
    dataset: SliceDataset, batch_size: int, seed: int | None = None, epoch: int = 0, workers: int = 0
) -> DataLoader[Batch]:
    """Give the batches of one epoch.

    A new loader an epoch keeps the order free of state; starting its workers costs some hundredths of a second.

    Parameters
    ----------
    dataset : SliceDataset
        The slices.
    batch_size, seed, epoch
        As of `batches`.
    workers : int
        Processes that read ahead; with 0 this process reads, which makes errors easiest to follow.

    Returns
    -------
    DataLoader
        Of (images, labels, indices) as from `SliceDataset.__getitems__`.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches(len(dataset), batch_size, seed, epoch),
        collate_fn=_whole,
        num_workers=workers,
        generator=torch.Generator(),  # else each epoch draws from the generator that others seeded for themselves
    )


def readers(threads: int) -> int:
    """Choose how many processes read ahead for a job of so many threads.

    For a GPU all but one; without one none, since reading a batch takes about a millisecond and further processes would
    only take cores from the computation.
    """
    return threads - 1 if torch.cuda.is_available() else 0


def _whole(batch: T) -> T:
    return batch


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Turn grey levels 0 to 255 into float32 values 0 to 1."""
    return images.to(torch.float32) / 255  # `images / 255` on integers takes five times as long


def augment(
    images: torch.Tensor,
    generator: torch.Generator,
    horizontal_flip: float,
    vertical_flip: float,
    rotation: float,
) -> torch.Tensor:
    """Flip and rotate each image by its own draw.

    Flips move pixels and are exact; the rotation interpolates once. With all three at 0 nothing changes.

    Parameters
    ----------
    images : uint8 tensor [n, channel, height, width]
        Square images, on any device.
    generator : torch.Generator
        Of the CPU, so that every device sees the same draws. Each call takes 3 n numbers.
    horizontal_flip, vertical_flip : float
        Probability of a left-right and of an up-down flip.
    rotation : float
        Largest rotation to either side, in degrees; the angle is uniform between.

    Returns
    -------
    float32 tensor of the shape of `images`, values 0 to 1
    """
    draws = torch.rand((3, len(images), 1, 1, 1), generator=generator).to(images.device)
    images = torch.where(draws[0] < horizontal_flip, images.flip(-1), images)
    images = torch.where(draws[1] < vertical_flip, images.flip(-2), images)
    images = to_float(images)
    return rotate(images, rotation * (2 * draws[2].flatten() - 1)) if rotation else images


def rotate(images: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Rotate each image about its centre, counter-clockwise as seen, bilinearly, with zeros from outside.

    Parameters
    ----------
    images : float tensor [n, channel, height, width]
        Square images.
    degrees : float tensor [n]
        Angle of each image.

    Returns
    -------
    float tensor of the shape of `images`
    """
    angle = torch.deg2rad(degrees)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    to_source = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).reshape(-1, 2, 3)
    grid = F.affine_grid(to_source, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
