"""What the sections of the configuration share."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Patients = Annotated[int, Field(ge=2)] | Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """A part of the file: unknown keys are errors, and text is never read as a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def canonical(section: Section) -> dict[str, Any]:
    """Give the values of a section as plain types with sorted keys.

    Snakemake compares the text of parameters: the order of keys in a file, or `1` for `1.0`, must not look like a
    change.
    """
    return json.loads(json.dumps(section.model_dump(), sort_keys=True))
