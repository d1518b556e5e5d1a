"""Pictures on the page, and where they come from."""

import base64
import html
import mimetypes
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from ich.base.classes import CLASSES
from ich.evaluation.notation import number


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes
    ----------
    path : path
        SVG or PNG.
    title : str
        What it is; also its alternative text.
    caption : str
        One or two sentences.
    """

    path: str | Path
    title: str
    caption: str

    @property
    def name(self) -> str:
        """Name under which the figure is downloaded."""
        return f"{Path(self.path).parent.name}_{Path(self.path).name}"

    @property
    def kind(self) -> str:
        """SVG, PNG or JPG."""
        return Path(self.path).suffix[1:].upper()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels of the file's own scale: browsers keep the room free, and the page its shape."""
        if self.kind != "SVG":
            with Image.open(self.path) as image:
                return image.size
        found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', self._head)
        assert found, f"{self.path} is no SVG of matplotlib"
        return round(float(found[1])), round(float(found[2]))

    @property
    def _head(self) -> str:
        with Path(self.path).open(encoding="utf-8") as file:
            return file.read(4000)

    @property
    def origin(self) -> tuple[str, str] | None:
        """The file that the figure shows and the hash of the code that drew it, as its own file has it."""
        if self.kind == "SVG":
            found = re.search(r"<dc:description>(.+?)</dc:description>", self._head)
            text = html.unescape(found[1]) if found else ""
        else:
            with Image.open(self.path) as image:
                text = image.info.get("Description") or image.info.get("comment", b"").decode()
        parts = re.fullmatch("From (.+), drawn by code (.+)", text)
        return parts and (os.path.normpath(Path(self.path).parent / parts[1]), parts[2])

    @property
    def shape(self) -> str:
        """Say whether the figure is wide or tall; the others stand two in a row."""
        width, height = self.size
        wide = width > 2 * height or (self.kind == "SVG" and width > 9 * 72)  # inches: small text in half a row
        return "wide" if wide else "tall" if height > 1.5 * width else ""

    @property
    def data(self) -> str:
        """The file as a data address, so that the page needs no other file."""
        kind = mimetypes.guess_type(Path(self.path).name)[0]
        return f"data:{kind};base64,{base64.b64encode(Path(self.path).read_bytes()).decode()}"


TITLES = {
    "montage": "Slices as the models see them",
    "label_counts": "Labels",
    "prevalence": "Prevalence by part",
    "metrics": "Accuracy and log loss by class",
    "roc": "ROC curves",
    "precision_recall": "Precision-recall curves",
    "history": "Loss and ROC AUC by epoch",
    "search": "ROC AUC on validation by point",
    "roc_scan": "ROC curves of scans",
    "precision_recall_scan": "Precision-recall curves of scans",
    "operating_points": "Rates at each threshold",
    "confusion": "Confusion matrices",
    "calibration": "Reliability",
    "subgroups": "ROC AUC by subgroup",
    "series": "Probabilities along a scan",
    "differences": "Paired differences",
}


def picture(path: str | Path, captions: str | Path) -> Picture:
    """Give a figure of the results its title, with the experiment that it is of, and its caption.

    Parameters
    ----------
    path : path
        `metrics.svg`, or `evaluation/{experiment}/roc.svg`, and the like.
    captions : path
        The folder of captions; the figure's has its name and the suffix `.rst`.

    Returns
    -------
    Picture
    """
    path = Path(path)
    experiment = f" of {path.parent.name}" if path.parent.parent.name in ("evaluation", "search") else ""
    caption = Path(captions, f"{path.stem}.rst").read_text(encoding="utf-8")
    return Picture(path, TITLES[path.stem] + experiment, " ".join(caption.replace("`", "").split()))


def gallery(folder: str | Path, hash_ids: bool) -> list[tuple[str, list[Picture]]]:
    """Give the cases of an experiment, with what is known of them.

    Parameters
    ----------
    folder : path
        evaluation/{experiment}/cases.
    hash_ids : bool
        Show the alias of a slice in the place of its id.

    Returns
    -------
    list of (class, list of Picture)
    """
    table = pd.read_csv(Path(folder, "cases.csv"), dtype={"image_id": str, "alias": str})
    found = []
    for name, rows in table.groupby("class", sort=False):
        records: list[Any] = rows.to_dict("records")
        found.append((str(name), [Picture(Path(folder, row["picture"]), *_case(row, hash_ids)) for row in records]))
    return found


def _case(row: Mapping[str, Any], hash_ids: bool) -> tuple[str, str]:
    """Give title and caption of a case."""
    labels = ", ".join(name for name in CLASSES[:-1] if row[name]) or "no haemorrhage"
    name = row["alias"] if hash_ids else row["image_id"]
    caption = (
        f"Probability {row['probability']:.3f}, threshold {number(row['threshold'])}. Labelled {labels}. "
        f"Slice {row['number']} of {row['of']}, {row['millimetres']:g} mm from the first. {name}"
    )
    return f"{row['kind'].capitalize()}, {row['class']}", caption


def without_paths(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Hide where files lie, for paths may name a person or an institution."""

    def hidden(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: hidden(each) for key, each in value.items()}
        if isinstance(value, list):
            return [hidden(each) for each in value]
        return "hidden" if isinstance(value, str) and "/" in value else value

    places = dict.fromkeys(("root", "labels", "dicom"), "hidden")
    return hidden({**configuration, "data": {**configuration["data"], **places}})
