"""The section `split`."""

import math
from typing import Self

from pydantic import Field, model_validator

from ich.config.section import Fraction, Section, Seed


class Fractions(Section):
    """Shares of the patients; their sum is 1."""

    train: Fraction = Field(gt=0, description="Share of patients in the training part.")
    validation: Fraction = Field(gt=0, description="Share of patients in the validation part.")
    test: Fraction = Field(gt=0, description="Share of patients in the test part.")

    @model_validator(mode="after")
    def _sum_is_one(self) -> Self:
        total = self.train + self.validation + self.test
        if not math.isclose(total, 1, abs_tol=1e-9):
            raise ValueError(f"the shares add up to {total:g}; write three that add up to 1")
        return self


class Split(Section):
    """The partition of patients into parts, by the paper's procedure."""

    fractions: Fractions
    seed: Seed = Field(description="Random state of both steps of the split; the paper's is 8.")
