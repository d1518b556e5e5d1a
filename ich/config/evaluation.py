"""The sections `evaluation` and `report`."""

from typing import Annotated, Literal

from pydantic import Field

from ich.config.section import Section, Seed


class Evaluation(Section):
    """How predictions are judged."""

    threshold: Literal["accuracy", "youden"] | Annotated[float, Field(gt=0, lt=1)] = Field(
        description="Decision rule. `accuracy` and `youden` choose each class's threshold on the validation part; "
        "a number is used as it is."
    )
    scan: Literal["maximum", "mean", "top3_mean", "noisy_or"] = Field(
        default="maximum",
        description="How the probabilities of a scan's slices become the scan's: their maximum, their mean, the mean "
        "of the three highest, or the probability of at least one were they independent.",
    )
    prevalence: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Prevalence at which PPV and NPV are stated, beside that of the part itself.",
    )
    replicates: int = Field(ge=0, description="Bootstrap replicates of the intervals, drawn by patient; 0 for none.")
    confidence: float = Field(gt=0, lt=1, description="Coverage of the intervals.")
    seed: Seed = Field(description="Seed of the bootstrap.")
    cases: int = Field(ge=0, le=10, description="Cases of each class and kind of call on the page, at most.")


class Report(Section):
    """The page with all results."""

    hash_ids: bool = Field(
        description=(
            "Show hashes in the place of the ids of slices, which only who has all ids can find again, and no paths of "
            "the configuration."
        )
    )
