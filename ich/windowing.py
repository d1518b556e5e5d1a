"""Hounsfield units to grey levels, and grey levels to the size of an image."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F


def window(hu: np.ndarray, level: float, width: float) -> np.ndarray:
    """Map a window of Hounsfield units to the 256 grey levels.

    `level - width/2` becomes 0, `level + width/2` becomes 255, values outside are clipped and values between are
    rounded to the nearest grey level, halves upwards. The arithmetic is float32, so that a value on the border of two
    grey levels may become the other one than in float64.

    Parameters
    ----------
    hu : float array of any shape
        Hounsfield units, finite.
    level, width : float
        Centre and width of the window in HU (the linear exact function of DICOM PS3.3, C.11.2.1.3.2).

    Returns
    -------
    uint8 array of the shape of `hu`
    """
    scale = 255 / width
    grey = hu * np.float32(scale)
    grey += np.float32(0.5 - (level - width / 2) * scale)  # casting to integers cuts off, so that + 0.5 rounds
    return np.clip(grey, 0, 255, out=grey).astype(np.uint8)


def resize(image: torch.Tensor, size: int) -> torch.Tensor:
    """Pad an image with zeros to a centred square and resize it.

    Bilinear with antialiasing: each new pixel is the mean of the old ones, weighted by a triangle that is one new pixel
    wide to either side. A pixel differs by at most one grey level from the same in float64, rounded at the end.

    Parameters
    ----------
    image : uint8 tensor [channel, height, width]
    size : int
        New height and width in pixels.

    Returns
    -------
    uint8 tensor [channel, size, size]
        In the order of memory of `image`.
    """
    height, width = image.shape[-2:]
    side = max(height, width)
    if height != width:
        top, left = (side - height) // 2, (side - width) // 2
        image = F.pad(image, (left, side - width - left, top, side - height - top))
    if side == size:
        return image
    return F.interpolate(image[None], size=(size, size), mode="bilinear", antialias=True)[0]


def slice_to_image(hu: np.ndarray, windows: Sequence[tuple[float, float]], size: int) -> torch.Tensor:
    """Give a slice in several windows, one a channel.

    The window comes first and the resize second: in the other order air and bone bleed into the brain before they are
    clipped, which changes a pixel by up to 118 grey levels.

    Parameters
    ----------
    hu : float32 array [row, column]
        Hounsfield units.
    windows : sequence of (level, width)
        In HU.
    size : int
        Height and width of the image in pixels.

    Returns
    -------
    uint8 tensor [window, size, size], contiguous
    """
    return resize(torch.from_numpy(np.stack([window(hu, level, width) for level, width in windows])), size)


def grey_table(hu: np.ndarray, windows: Sequence[tuple[float, float]]) -> np.ndarray:
    """Give the grey levels of every value that a pixel can have, for `look_up`.

    Parameters
    ----------
    hu : float32 array [value]
        Hounsfield units of each value.
    windows : sequence of (level, width)
        In HU.

    Returns
    -------
    uint32 array [group of four windows, value]
        The grey levels in a group's windows are its bytes, the first one lowest.
    """
    grey = np.zeros((-(-len(windows) // 4), len(hu), 4), np.uint8)
    for channel, (level, width) in enumerate(windows):
        grey[channel // 4, :, channel % 4] = window(hu, level, width)
    return grey.view("<u4")[..., 0]


def look_up(stored: np.ndarray, table: np.ndarray, channels: int, size: int) -> np.ndarray:
    """Give a slice in several windows by a table: the same bytes as `slice_to_image`, in half its time.

    Four windows are looked up at once and lie side by side in each pixel, as torch resizes them fastest.

    Parameters
    ----------
    stored : integer array [row, column]
    table : uint32 array [group of four windows, value]
        From `grey_table`, of 2 to the power of as many values as `stored` has bits; negative ones count from its end.
    channels : int
        Number of windows.
    size : int
        Height and width of the image in pixels.

    Returns
    -------
    uint8 array [window, size, size]
    """
    image = np.empty((channels, size, size), np.uint8)
    for group, greys in enumerate(table):
        pixels = np.take(greys, stored, mode="wrap").view(np.uint8).reshape(*stored.shape, 4)
        resized = resize(torch.from_numpy(pixels).permute(2, 0, 1), size).permute(1, 2, 0)
        packed = resized.contiguous().numpy().view("<u4")[..., 0]
        for number, channel in enumerate(image[4 * group : 4 * group + 4]):
            channel[...] = packed >> 8 * number  # the lowest byte is what remains
    return image
