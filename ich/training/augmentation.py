"""Random changes of training images, drawn for each image by itself."""

import numpy as np
import torch
from torch.nn import functional as F

from ich.images.windowing import to_float


def draws(slices: int, seed: int, epoch: int, batch: int) -> torch.Tensor:
    """Draw the random numbers of `augment` for a batch.

    Parameters
    ----------
    slices : int
        Slices in the batch.
    seed, epoch, batch : int
        What they are drawn from; the batch is counted from 1.

    Returns
    -------
    float32 tensor [3, slices], from 0 to below 1
    """
    return torch.from_numpy(np.random.default_rng([seed, epoch, batch]).random((3, slices), np.float32))


def augment(
    images: torch.Tensor, draws: torch.Tensor, horizontal_flip: float, vertical_flip: float, rotation: float
) -> torch.Tensor:
    """Flip and rotate each image by its own draws.

    Where there is a rotation it takes the flips along and interpolates once. Flips alone move pixels and are exact, and
    with all three at 0 nothing changes.

    Parameters
    ----------
    images : uint8 tensor [n, channel, height, width]
        Square images, on any device.
    draws : float tensor [3, n]
        From `draws`, on the device of the images: for the flips, and for the angle.
    horizontal_flip, vertical_flip : float
        Probability of a left-right and of an up-down flip.
    rotation : float
        Largest rotation to either side, in degrees; the angle is uniform between.

    Returns
    -------
    float32 tensor of the shape of `images`, values 0 to 1
    """
    horizontal, vertical = draws[0] < horizontal_flip, draws[1] < vertical_flip
    if rotation:
        return rotate(to_float(images), rotation * (2 * draws[2] - 1), horizontal, vertical)
    images = torch.where(horizontal[:, None, None, None], images.flip(-1), images)
    images = torch.where(vertical[:, None, None, None], images.flip(-2), images)
    return to_float(images)


def rotate(
    images: torch.Tensor, degrees: torch.Tensor, horizontal: torch.Tensor, vertical: torch.Tensor
) -> torch.Tensor:
    """Flip each image, and rotate it about its centre, counter-clockwise as seen: bilinearly, with zeros from outside.

    Parameters
    ----------
    images : float tensor [n, channel, height, width]
        Square images.
    degrees : float tensor [n]
        Angle of each image.
    horizontal, vertical : bool tensors [n]
        Which images are first flipped left to right, and which upside down.

    Returns
    -------
    float tensor of the shape of `images`
    """
    angle = torch.deg2rad(degrees)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    x, y = 1 - 2 * horizontal.to(angle), 1 - 2 * vertical.to(angle)
    to_source = torch.stack([x * cos, x * -sin, zero, y * sin, y * cos, zero], dim=1).reshape(-1, 2, 3)
    grid = F.affine_grid(to_source, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
