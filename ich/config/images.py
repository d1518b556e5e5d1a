"""The sections `windows` and `caches`."""

from pydantic import Field

from ich.config.section import Name, Section


class Window(Section):
    """A linear grey scale over Hounsfield units (DICOM PS3.3 C.11.2.1.2)."""

    level: float = Field(description="Centre of the window, in HU.")
    width: float = Field(
        gt=0, description="Width of the window, in HU: level - width/2 is black, level + width/2 white."
    )


class Cache(Section):
    """A set of windowed, resized images."""

    windows: list[Name] = Field(min_length=1, description="Names of windows, one an image channel, in order.")
    size: int = Field(ge=16, le=2048, description="Rows and columns of the images, in pixels.")
