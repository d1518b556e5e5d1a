"""Class activation maps: where in a slice a logit comes from."""

import torch
from torch import nn


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
