"""The model card of an experiment: Markdown with the front matter that the Hugging Face hub reads."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ich import facts as words
from ich.cohort import PARTS
from ich.comparison import markdown
from ich.grids import Grid, calibration, grid, of_part, operating_points
from ich.labels import CLASSES
from ich.units import UNITS

USAGE = """\
import torch
from ich.cache import slice_image
from ich.data import to_float
from ich.files import read_json
from ich.inspection import headers_of_files, ordered
from ich.models import build, load_weights

facts = read_json("model.json")
network = build(facts["model"], channels=len(facts["windows"]))
load_weights(network, "weights.safetensors", exact=True)
windows = tuple((window["level"], window["width"]) for window in facts["windows"])
slices, left_out = ordered(headers_of_files("scan"))  # a folder with the DICOM files of a series
images = [torch.from_numpy(slice_image(row, windows, facts["size"])) for row in slices.itertuples()]
with torch.inference_mode():
    logits = network.eval()(to_float(torch.stack(images)))
probabilities = torch.sigmoid(logits)  # [slice, class], classes as in facts["classes"]
"""
_METRICS = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
}
_HUB = {"roc_auc": "roc_auc", "average_precision": "average_precision", "brier": "brier_score"}  # as the hub calls them
_RATES = ("sensitivity", "specificity", "ppv", "npv")
_TRUST = ("ece", "slope", "intercept")


def card(
    name: str,
    *,
    facts: Mapping[str, Any],
    sha256: str,
    counts: pd.DataFrame,
    metrics: pd.DataFrame,
    points: pd.DataFrame,
    calibrated: pd.DataFrame,
    scan: str,
    threshold: str | float,
    confidence: float,
    synthetic: bool,
) -> str:
    """Write the card.

    Its parts are those of Mitchell et al., Model Cards for Model Reporting (FAT* 2019, doi:10.1145/3287560.3287596), as
    far as the pipeline knows an answer.

    Parameters
    ----------
    name : str
        The experiment.
    facts : mapping
        Its model.json.
    sha256 : str
        Of its weights.safetensors.
    counts : DataFrame
        data/cohort.csv.
    metrics, points, calibrated : DataFrame
        Its metrics.csv, operating_points.csv and calibration.csv.
    scan, threshold, confidence
        As of the configuration's `evaluation`.
    synthetic : bool
        Say wherever numbers stand that the data is synthetic.

    Returns
    -------
    str
        Markdown; the same from equal inputs.
    """
    template = Environment(  # Markdown: no HTML to escape, and values are escaped one by one
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("card.md")
    test = of_part(metrics)
    first = {part: rows.iloc[0] for part, rows in counts.groupby("part")}
    return template.render(
        name=markdown(name),
        front=yaml.safe_dump(_front(name, facts, test, synthetic), sort_keys=False, allow_unicode=True),
        facts=facts,
        usage=USAGE,
        scan=scan,
        threshold=threshold,
        confidence=f"{confidence:.0%}",
        # Without the time, which another run of the same training would not take again.
        training=_table(["", name], [[key, *cells] for key, cells in words.training({name: facts}) if key != "time"]),
        environment=_table(["", name], [[key, *cells] for key, cells in words.environment({name: facts})]),
        counts=_counts(counts),
        parts={part: {key: f"{first[part][key]:,}" for key in ("slices", "patients")} for part in PARTS},
        slices=_grid(_metrics(test, "slice")),
        scans=_grid(_metrics(test, "scan")),
        points=_grids(operating_points(points[(points["class"] == "any") & points["measure"].isin(_RATES)])),
        calibration=_grids(
            calibration(calibrated[(calibrated["method"] == "none") & calibrated["measure"].isin(_TRUST)])
        ),
        sha256=sha256,
        synthetic=synthetic,
        synthetic_note=" (synthetic data)" if synthetic else "",
    )


def _front(name: str, facts: Mapping[str, Any], test: pd.DataFrame, synthetic: bool) -> dict[str, Any]:
    """Give the front matter; values that do not exist are left out, for YAML has no NaN that the hub takes."""
    data = "synthetic head CT" if synthetic else "head CT"
    values = test.set_index(["unit", "metric", "class"])["value"]
    found = [
        {"type": called, "name": f"{_METRICS[metric]} of {label}, {unit}s", "value": float(values[unit, metric, label])}
        for unit in UNITS
        for metric, called in _HUB.items()
        for label in CLASSES
        if math.isfinite(values[unit, metric, label])
    ]
    terms = (
        {"license": "apache-2.0"}
        if synthetic
        else {"license": "other", "license_name": "terms-of-the-training-data", "license_link": "README.md"}
    )
    return {
        "language": "en",
        **terms,
        "library_name": "torchvision",
        "pipeline_tag": "image-classification",
        "tags": [
            "medical",
            "radiology",
            "computed-tomography",
            "intracranial-haemorrhage",
            facts["model"],
            *(["synthetic-data"] if synthetic else []),
        ],
        "metrics": [*_HUB.values()],
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "image-classification", "name": "Intracranial haemorrhage and its subtypes"},
                        "dataset": {
                            "type": data.replace(" ", "-").lower(),
                            "name": f"{data}, test part",
                            "split": "test",
                        },
                        "metrics": found,
                    }
                ],
            }
        ],
    }


def _metrics(test: pd.DataFrame, unit: str) -> Grid:
    rows = test[(test["unit"] == unit) & (test["class"] != "kaggle")]
    return grid(rows, f"{unit.capitalize()}s of the test part", ["class"], "metric", _METRICS)


def _counts(counts: pd.DataFrame) -> str:
    parts = {part: counts[counts["part"] == part].set_index("class") for part in PARTS}
    return _table(
        ["", *parts],
        [
            [label, *(f"{rows['positive'][label]:,} ({rows['prevalence'][label]:.1%})" for rows in parts.values())]
            for label in CLASSES
        ],
    )


def _grids(found: Iterable[Grid]) -> str:
    return "\n\n".join(map(_grid, found))


def _grid(grid: Grid) -> str:
    """Write a table with its caption and reasons."""
    rows = [[*names, *map(_cell, cells)] for names, cells in grid.rows]
    reasons = [f"- [{mark}] {markdown(reason)}" for mark, reason in grid.reasons.items()]
    table = _table([*grid.names, *grid.columns], rows)
    return "\n\n".join(filter(None, [f"**{grid.caption}**", table, "\n".join(reasons)]))


def _cell(cell: Mapping[str, Any]) -> str:
    return " ".join(filter(None, [cell["text"], cell["interval"], cell["mark"] and f"[{cell['mark']}]"]))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [[markdown(cell) for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
