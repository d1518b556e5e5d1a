"""The page: one self-contained HTML file with every table and figure. It reads results and computes nothing."""

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ich import paper

_HERE = Path(__file__).parent
_WIDE = ("history", "metrics", "montage")


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
    def wide(self) -> bool:
        """Whether the figure has panels side by side and needs the page's width."""
        return Path(self.path).stem in _WIDE

    @property
    def data(self) -> str:
        """The file as a data address, so that the page needs no other file."""
        kind = mimetypes.guess_type(Path(self.path).name)[0]
        return f"data:{kind};base64,{base64.b64encode(Path(self.path).read_bytes()).decode()}"


def render(
    *,
    comparison: str,
    verdict: str,
    classes: pd.DataFrame,
    counts: pd.DataFrame,
    flow: Mapping[str, Any],
    quarantine: pd.DataFrame,
    models: Mapping[str, Mapping[str, Any]],
    sections: Mapping[str, Sequence[Picture]],
    configuration: Mapping[str, Any],
    synthetic: bool,
) -> str:
    """Write the page.

    Parameters
    ----------
    comparison : str
        The comparison table as an HTML fragment of `comparison.to_html`.
    verdict : str
        As from `comparison.verdict`.
    classes : DataFrame
        As from `comparison.by_class`.
    counts : DataFrame
        As from `cohort.counts`.
    flow : mapping
        data/flow.json.
    quarantine : DataFrame
        data/quarantine.csv; only its counts reach the page, for a file's name may hold a patient's.
    models : mapping of experiment to mapping
        model.json of each.
    sections : mapping
        The figures of the sections `cohort`, `results` and `training`.
    configuration : mapping
        The whole configuration.
    synthetic : bool
        Say on top that the data is synthetic.

    Returns
    -------
    str
        HTML; the same from equal inputs.
    """
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"number": _number, "count": _count}
    reasons = quarantine.groupby(["stage", "reason"]).size().reset_index(name="slices")
    return environment.get_template("report.html").render(
        style=Markup((_HERE / "report.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "report.js").read_text(encoding="utf-8")),
        comparison=Markup(comparison),
        verdict=verdict,
        classes=classes.to_dict("records"),
        counts=counts.to_dict("records"),
        flow=flow,
        reasons=reasons.to_dict("records"),
        models=models,
        sections=sections,
        configuration=yaml.safe_dump(dict(configuration), sort_keys=True),
        notes=paper.NOTES,
        citation=paper.CITATION,
        synthetic=synthetic,
    )


def _number(value: float) -> str:
    """Write a measured value for a reader; a dash where there is none."""
    return "–" if pd.isna(value) else f"{value:.3f}"


def _count(value: float) -> str:
    """Write a whole number for a reader; a dash where there is none."""
    return "–" if pd.isna(value) else f"{int(value):,}"
