"""Class activation maps: where in a slice a logit comes from."""

import torch
from torch import nn
from torch.nn import functional as F


@torch.inference_mode()
def class_maps(network: nn.Sequential, images: torch.Tensor) -> torch.Tensor:
    """Give the class activation map of each logit (Zhou et al., CVPR 2016).

    Every network of `models.build` ends in the mean of its last feature maps over the image and one linear layer. A
    logit is then the mean of its map over the image, plus the layer's bias: the map tells how much each place adds. For
    such networks Grad-CAM at the last features is the same map up to a factor and its ReLU.

    Parameters
    ----------
    network : nn.Sequential
        From `models.build`, in evaluation mode.
    images : float32 tensor [n, channel, height, width]
        Values 0 to 1, on the network's device.

    Returns
    -------
    float32 tensor [n, class, rows, columns]
        In the cells of the last features: 7 x 7 for 224 pixels.
    """
    *body, _pool, _flatten, head = network
    features = nn.Sequential(*body)(images)
    return torch.einsum("kc,nchw->nkhw", head.weight, features)


def spread(network: nn.Sequential, maps: torch.Tensor, size: int) -> torch.Tensor:
    """Enlarge maps to the pixels of the images, each cell with its middle where it lies in the image.

    Between the middles of the cells values are bilinear, beyond the outermost they stay. That is not a resize of the
    map: the middle of a ResNet's first cell is the first pixel, not the middle of the first 32 pixels, and a resize
    would move what the map shows by half a cell down and to the right.

    Parameters
    ----------
    network : nn.Sequential
        From `models.build`.
    maps : float32 tensor [n, class, rows, columns]
        From `class_maps`.
    size : int
        Height and width of the images in pixels.

    Returns
    -------
    float32 tensor [n, class, size, size]
    """
    first, step = _cells(network)
    gaps = max(maps.shape[-1] - 1, 1)  # a single cell has none, and its value stands everywhere
    place = 2 * (torch.arange(size, device=maps.device) - first) / (step * gaps) - 1  # -1 and 1: the outermost middles
    grid = torch.stack(torch.meshgrid(place, place, indexing="xy"), dim=-1)
    grid = grid.expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=True)


def _cells(network: nn.Sequential) -> tuple[float, int]:
    """Give the middle of the first cell of the last features and the distance of cells, in pixels.

    Each layer with a kernel moves the middle and multiplies the distance (Araujo et al., Distill 2019,
    doi:10.23915/distill.00021). A ResNet's shortcuts run beside layers of the same geometry.
    """
    first, step = 0.0, 1
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) and "downsample" not in name:
            kernel, stride, padding = (
                each if isinstance(each, int) else int(each[0])
                for each in (layer.kernel_size, layer.stride, layer.padding)
            )
            first += step * ((kernel - 1) / 2 - padding)
            step *= stride
    return first, step
