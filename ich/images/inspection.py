"""Looking at slices: which files make a series, and a contact sheet of it in three windows."""

import functools
import itertools
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ich.base.classes import CLASSES
from ich.base.errors import InputError
from ich.base.palette import ALERT, FAINT, INK
from ich.cohort.slices import build_manifest
from ich.dicom.defects import Defect
from ich.dicom.headers import header_rows
from ich.dicom.sources import INVENTORY_SCHEMA, inventory
from ich.images.cache import slice_image

WINDOWS = {"bone": (600, 2800), "subdural": (80, 200), "soft tissue": (40, 380)}  # level, width in HU: the paper's
HEALTHY = "no haemorrhage"
TILE, SPACE, LINE, DPI = 176, 24, 28, 150  # pixels; pixels an inch


def headers_of_files(path: str | os.PathLike) -> pd.DataFrame:
    """Read the headers of a DICOM file, or of all files in a folder or a zip file.

    Raises
    ------
    InputError
        The folder or zip file cannot be used (`dicom.inventory`).
    """
    path = Path(path)
    if path.is_dir() or zipfile.is_zipfile(path):
        return header_rows(inventory([path]))
    size = path.stat().st_size
    row = (path.stem, str(path), "", 0, size, size, -1)
    return header_rows(pd.DataFrame([row], columns=INVENTORY_SCHEMA.names))


def headers_of_series(name: str, results: str | os.PathLike) -> pd.DataFrame:
    """Find the headers of a series among those that the workflow has read.

    Parameters
    ----------
    name : str
        SeriesInstanceUID, or the image_id of one of the slices.
    results : path
        The workflow's results.

    Raises
    ------
    InputError
        There are no headers, or nothing of this name among them, or its files are gone.
    """
    folder = Path(results) / "data" / "headers"
    if not folder.is_dir():
        raise InputError(
            f"{name}: there is no such file or folder, nor is there {folder} to look it up as the name of a series or "
            "a slice. Write the folder of the workflow's results after --results."
        )
    series = pc.field("series_instance_uid")
    named = (pc.field("sop_instance_uid") == name) | (pc.field("image_id") == name)
    found = pq.read_table(folder, filters=named | (series == name))
    if not len(found):
        raise InputError(f"{name}: neither a file or folder, nor a series or slice in {folder}")
    wanted = found["series_instance_uid"].drop_null().unique()
    found = pq.read_table(folder, filters=named | series.isin(wanted)).to_pandas(integer_object_nulls=True)
    files = {row.archive or row.location for row in found.itertuples()}
    if not any(map(os.path.exists, files)):
        raise InputError(
            f"{min(files)}: this file is not there. Give the command in the folder where the workflow ran."
        )
    return found


def series_of(headers: pd.DataFrame) -> list[pd.DataFrame]:
    """Give the files of each series, in the order of the series' names.

    Files whose header tells of no series come last, or belong to the only series that there is.
    """
    named = [rows for _, rows in headers.groupby("series_instance_uid")]
    nameless = headers[headers["series_instance_uid"].isna()]
    if len(named) == 1:
        return [headers]
    return [*named, nameless] if len(nameless) else named


def ordered(headers: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put the files of a series into order.

    Returns
    -------
    slices : DataFrame
        `slices.SLICES_SCHEMA`: the usable ones.
    quarantine : DataFrame
        `slices.QUARANTINE_COLUMNS`: the others.
    """
    if (headers["defect"] == "").any():
        return build_manifest(headers, shards=1)
    return headers[:0], headers.assign(stage="headers", reason=headers["defect"]).sort_values("location")


def known_labels(image_ids: pd.Series, results: str | os.PathLike) -> dict[str, str]:
    """Describe the labels of slices in words, where the workflow has read labels of them."""
    path = Path(results) / "data" / "labels.parquet"
    if not path.is_file():
        return {}
    labels = pq.read_table(path, filters=pc.field("image_id").isin(image_ids.tolist())).to_pandas()
    return {
        row["image_id"]: ", ".join(name for name in CLASSES[:-1] if row[name]) or HEALTHY
        for row in labels.to_dict("records")
    }


@dataclass
class Cell:
    """A slice on the contact sheet, or, with a reason, what stands for it."""

    location: str
    reason: str = ""
    caption: str = ""
    gap: str = ""  # if it is unlike the others of the series
    label: str = ""
    chosen: bool = False
    images: np.ndarray | None = None  # uint8 [window, TILE, TILE]


def look(slices: pd.DataFrame, quarantine: pd.DataFrame, labels: Mapping[str, str], chosen: str = "") -> list[Cell]:
    """Read the slices of a series for the contact sheet.

    Parameters
    ----------
    slices, quarantine : DataFrame
        From `ordered`.
    labels : mapping
        From `known_labels`.
    chosen : str
        image_id of a slice to frame.

    Returns
    -------
    list of Cell
        The slices in their order, also those that fail now, and then those in quarantine.
    """
    cells = []
    row: Any
    usual = slices["gap"].median() if len(slices) else 0.0
    for row in slices.itertuples(index=False):
        cell = Cell(row.location, caption=f"{row.index}   {row.position:.1f} mm", label=labels.get(row.image_id, ""))
        cell.chosen = row.image_id == chosen
        if abs(row.gap - usual) > usual / 2:
            cell.gap = f"{row.gap:.1f} mm from the one before"
        try:
            cell.images = slice_image(row, tuple(WINDOWS.values()), TILE)
        except Defect as defect:
            cell.reason = defect.reason
        cells.append(cell)
    return cells + [Cell(*line) for line in quarantine[["location", "reason"]].itertuples(index=False)]


def contact_sheet(cells: Sequence[Cell]) -> Figure:
    """Draw slices in three windows, with their numbers, positions and labels.

    A slice that cannot be used is a box with the reason. There is no name of a patient, file or series on the sheet.
    """
    width, height = len(WINDOWS) * TILE + SPACE, TILE + 2 * LINE
    columns = max(1, min(len(cells), round(sqrt(len(cells) * height / width))))
    page = np.full((ceil(len(cells) / columns) * height + 2 * LINE, columns * width + SPACE), 255, np.uint8)
    figure = Figure(figsize=(page.shape[1] / DPI, page.shape[0] / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    text = functools.partial(axes.text, fontsize=7, color=INK, verticalalignment="center", clip_on=True)
    for column, (at, (name, (level, across))) in itertools.product(range(columns), enumerate(WINDOWS.items())):
        text(SPACE + column * width + at * TILE, LINE / 2, f"{name} ({level}, {across})", color=FAINT)
    for place, cell in enumerate(cells):
        left, top = SPACE + place % columns * width, LINE * 2 + place // columns * height
        text(left, top - LINE / 2, cell.caption, fontweight="bold")
        text(left + 1.2 * TILE, top - LINE / 2, cell.gap, color=ALERT)
        text(left, top + TILE + LINE / 2, cell.label, color=FAINT if cell.label == HEALTHY else INK)
        if cell.images is None:
            box = Rectangle((left, top), width - SPACE, TILE, facecolor="#F3F4F5", edgecolor=FAINT, linewidth=0.5)
            axes.add_patch(box)
            text(left + TILE / 2, top + TILE / 2, cell.reason, color=ALERT, fontsize=9)
        else:
            page[top : top + TILE, left : left + width - SPACE] = np.hstack(list(cell.images))
        if cell.chosen:
            frame = (left - SPACE / 3, top - LINE + 3), width - SPACE / 3, height - 6
            axes.add_patch(Rectangle(*frame, fill=False, edgecolor=ALERT))
    axes.imshow(np.dstack([page] * 3), interpolation="none", zorder=-1)  # a colour map would round
    return figure
