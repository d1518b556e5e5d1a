"""A network that learns: one step, and the state from which it goes on."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ich.training.distributed import ALONE, World


class Learner:
    """A network that learns.

    Parameters
    ----------
    network : nn.Module
        On its device.
    updates : Optimizer
        Of its weights.
    dtype : torch.dtype
        What layers compute in that can do so safely; weights and sums stay float32.
    device, world, compile
        As of `train`.
    """

    def __init__(
        self,
        network: nn.Module,
        updates: torch.optim.Optimizer,
        dtype: torch.dtype,
        device: torch.device,
        world: World = ALONE,
        compile: bool = False,
    ):
        self.network, self.updates, self.dtype, self.device, self.world = network, updates, dtype, device, world
        wrapped = world.wrap(network)
        self.forward = torch.compile(wrapped) if compile else wrapped
        # float16 ends at 6e-8: gradients are scaled up, and a step that overflows is passed over
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def step(self, images: torch.Tensor, labels: torch.Tensor, share: float = 1.0) -> torch.Tensor:
        """Learn from a batch.

        Parameters
        ----------
        images : float32 tensor [n, channel, height, width]
        labels : float32 tensor [n, class]
        share : float
            This process's part of the slices of the batch.

        Returns
        -------
        float32 tensor
            The mean loss before the step, times `share`: its sum over the processes is the loss of the batch.
        """
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.forward(images)
        loss = F.binary_cross_entropy_with_logits(logits.float(), labels) * share
        self.updates.zero_grad()
        self.scaler.scale(loss * self.world.size).backward()  # gradients are averaged over the processes
        self.scaler.step(self.updates)
        self.scaler.update()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Give all that `load` needs."""
        self.world.average_statistics(self.network)
        return {
            "network": self.network.state_dict(),
            "updates": self.updates.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["network"])
        self.updates.load_state_dict(state["updates"])
        self.scaler.load_state_dict(state["scaler"])
