"""The section `training`."""

from typing import Literal

from pydantic import Field

from ich.config.section import Fraction, Name, Section, Seed


class Optimizer(Section):
    """How the weights are updated."""

    name: Literal["adam", "adamw", "sgd"] = Field(description="adam, adamw or sgd.")
    learning_rate: float = Field(gt=0, description="Learning rate of the first epoch (after warm-up).")
    weight_decay: float = Field(ge=0, description="Weight decay.")
    momentum: float = Field(ge=0, lt=1, description="Momentum of sgd; the others do not use it.")


class Schedule(Section):
    """The learning rate over the epochs."""

    name: Literal["exponential", "cosine", "constant"] = Field(
        description="exponential: rate times gamma^epoch (the paper's); cosine: half a cosine down to zero; constant."
    )
    gamma: float = Field(gt=0, le=1, description="Factor an epoch of `exponential`.")
    warmup_epochs: int = Field(ge=0, description="Epochs in which the rate first rises linearly.")


class Augmentation(Section):
    """Random changes of training images, drawn for each image by itself."""

    horizontal_flip: Fraction = Field(description="Probability of a left-right flip.")
    vertical_flip: Fraction = Field(description="Probability of an up-down flip.")
    rotation: float = Field(ge=0, le=180, description="Largest rotation to either side, in degrees.")


class Training(Section):
    """How models are trained. An experiment takes these values unless it has its own."""

    cache: Name = Field(description="Name of the cache with the images.")
    weights: str = Field(
        min_length=1,
        description="Initial weights: `imagenet`, `none` (random), or the path of a state dict (.safetensors or .pth).",
    )
    epochs: int = Field(ge=1, description="Number of passes over the training part.")
    batch_size: int = Field(ge=2, description="Slices in a batch.")
    optimizer: Optimizer
    schedule: Schedule
    augmentation: Augmentation
    seed: Seed = Field(description="Seed of initial weights, order and augmentation.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="What layers compute in. `auto`: bfloat16 on a GPU that has it, float16 with scaled gradients on "
        "another, float32 on a CPU.",
    )
    compile: bool = Field(default=False, description="Compile the network by torch.compile before it is trained.")
    gpus: int = Field(
        default=1,
        ge=1,
        description="Number of GPUs, a process each, that share every batch. Without a GPU, number of processes.",
    )
