"""The section `data`."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from ich.config.section import Fraction, Section, Seed


class Synthetic(Section):
    """The embedded data set that the pipeline makes itself under `data.root`."""

    patients: int = Field(ge=10, description="Number of patients.")
    slices: list[Annotated[int, Field(ge=3)]] = Field(
        min_length=2, max_length=2, description="Fewest and most slices of a series."
    )
    size: int = Field(ge=32, description="Rows and columns of a slice, in pixels; the real data has 512.")
    prevalence: Fraction = Field(description="Share of series that hold a haemorrhage; the real data has 0.41.")
    evenness: Fraction = Field(
        default=0.0,
        description="How evenly combinations of subtypes are drawn: 0 as in the real data, 1 all alike.",
    )
    seed: Seed = Field(description="The same seed gives the same bytes.")


class Data(Section):
    """Where the slices and labels are."""

    root: str = Field(min_length=1, description="Folder of the data set. The other paths are relative to it.")
    labels: str = Field(description="Label file in Kaggle's long layout (`ID,Label`).")
    dicom: str | list[str] = Field(
        description="A folder of DICOM files of any depth, a zip file that holds them, or a list of such."
    )
    synthetic: Synthetic | None = Field(
        default=None, description="If given, `root` is made by the pipeline, and every figure says so."
    )

    @model_validator(mode="after")
    def _synthetic_is_one_folder(self) -> Self:
        if self.synthetic and not isinstance(self.dicom, str):
            raise ValueError("data.synthetic makes one folder; write its name as data.dicom, no list")
        return self

    @property
    def labels_path(self) -> str:
        """Path of the label file."""
        return str(Path(self.root, self.labels))

    @property
    def dicom_paths(self) -> list[str]:
        """Paths of the folders and zip files."""
        names = [self.dicom] if isinstance(self.dicom, str) else self.dicom
        return [str(Path(self.root, name)) for name in names]
