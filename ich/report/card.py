"""The model card of an experiment: Markdown with the front matter that the Hugging Face hub reads."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ich.base.classes import CLASSES
from ich.cohort.split import PARTS
from ich.evaluation import paper
from ich.evaluation.units import UNITS
from ich.report import facts as words
from ich.report.grids import Grid, calibration, grid, of_part, operating_points
from ich.report.tables import markdown

USAGE = """\
import torch
from ich.base.files import read_json
from ich.images.cache import slice_image
from ich.images.inspection import headers_of_files, ordered
from ich.images.windowing import to_float
from ich.models.backbones import build
from ich.models.weights import load_weights

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
_HUB = {  # as the hub calls them
    "roc_auc": "roc_auc",
    "average_precision": "average_precision",
    "log_loss": "log_loss",
    "brier": "brier_score",
}
_MODEL = ("architecture", "parameters", "input", "channels")  # what of `facts.training` is the model's own
_RATES = ("sensitivity", "specificity", "ppv", "npv")
_TRUST = ("ece", "slope", "intercept")


@dataclass(frozen=True)
class _Data:
    """The data as the hub is told of it: an id and a name; `terms` is an address where its terms stand, if known."""

    id: str
    name: str
    terms: str = ""


_SYNTHETIC = _Data("synthetic-head-ct", "synthetic head CT")
_RSNA = _Data(
    "rsna-intracranial-hemorrhage-detection",
    "RSNA 2019 head CT",
    "https://github.com/RSNA/AI-Challenge-Data/wiki/RSNA-Intracranial-Hemorrhage-Detection",
)
_OTHER = _Data("head-ct", "head CT")


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
    parts = {str(part): rows.set_index("class") for part, rows in counts.groupby("part")}
    sizes = {part: rows.iloc[0] for part, rows in parts.items()}
    data = _OTHER
    if synthetic:
        data = _SYNTHETIC
    elif paper.is_data_set(sum(size["slices"] for size in sizes.values())):
        data = _RSNA
    free = synthetic and not facts["configuration"]["weights"]  # nothing but this code went into the weights
    training, environment = (
        {key: cell for key, [cell] in rows({name: facts})} for rows in (words.training, words.environment)
    )
    del training["time"]  # which another run of the same training would not take again
    model = [[key, training.pop(key)] for key in _MODEL]
    note = " (synthetic data)" if synthetic else ""

    def shown(grids: Iterable[Grid]) -> str:
        return "\n\n".join(_grid(replace(each, caption=each.caption + note)) for each in grids)

    return template.render(
        name=markdown(name),
        front=yaml.safe_dump(_front(name, facts, test, data, free), sort_keys=False, allow_unicode=True),
        facts=facts,
        classes=CLASSES,
        usage=USAGE,
        scan=scan,
        threshold=threshold,
        confidence=f"{confidence:.0%}",
        model=_table(["", name], model),
        code=environment.pop("code"),
        training=_table(["", name], training.items()),
        environment=_table(["", name], environment.items()),
        counts=_counts(parts),
        sizes={part: {key: f"{size[key]:,}" for key in ("slices", "patients")} for part, size in sizes.items()},
        metrics=shown(_metrics(test, unit) for unit in UNITS),
        points=shown(operating_points(points[(points["class"] == "any") & points["measure"].isin(_RATES)])),
        calibration=shown(
            calibration(calibrated[(calibrated["method"] == "none") & calibrated["measure"].isin(_TRUST)])
        ),
        sha256=sha256,
        data=data,
        free=free,
        rsna=data is _RSNA,
        note=note,
        synthetic=synthetic,
        citation=paper.CITATION,
    )


def _front(name: str, facts: Mapping[str, Any], test: pd.DataFrame, data: _Data, free: bool) -> dict[str, Any]:
    """Give the front matter; values that do not exist are left out, for YAML has no NaN that the hub takes."""
    values = test.set_index(["unit", "metric", "class"])["value"]
    found = [
        {"type": called, "name": f"{_METRICS[metric]} of {label}, {unit}s", "value": float(values[unit, metric, label])}
        for unit in UNITS
        for metric, called in _HUB.items()
        for label in CLASSES
        if math.isfinite(values[unit, metric, label])
    ]
    link = {"license_link": data.terms} if data.terms else {}
    terms = {"license": "other", "license_name": "terms-of-the-training-data", **link}
    return {
        **({"license": "apache-2.0"} if free else terms),
        "library_name": "torchvision",
        "pipeline_tag": "image-classification",
        "tags": [
            "medical",
            "radiology",
            "computed-tomography",
            "intracranial-haemorrhage",
            facts["model"],
            *(["synthetic-data"] if data is _SYNTHETIC else []),
        ],
        "datasets": [data.id],
        "metrics": [*_HUB.values()],
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "image-classification", "name": "Intracranial haemorrhage and its subtypes"},
                        "dataset": {"type": data.id, "name": f"{data.name}, test part", "split": "test"},
                        "metrics": found,
                    }
                ],
            }
        ],
    }


def _metrics(test: pd.DataFrame, unit: str) -> Grid:
    rows = test[(test["unit"] == unit) & (test["class"] != "kaggle")]
    first = rows.drop_duplicates("class").dropna(subset="positive")  # a mean of classes has no positive units
    positive = first[["class"]].assign(metric="positive", value=first["positive"].astype(float), whole=True)
    return grid(
        pd.concat([positive, rows], ignore_index=True),
        f"{int(rows['n'].iloc[0]):,} {unit}s of the test part",
        ["class"],
        "metric",
        {"positive": "positive"} | _METRICS,
    )


def _counts(parts: Mapping[str, pd.DataFrame]) -> str:
    tables = [parts[part] for part in PARTS]
    return _table(
        ["", *PARTS],
        [
            [label, *(f"{rows['positive'][label]:,} ({rows['prevalence'][label]:.1%})" for rows in tables)]
            for label in CLASSES
        ],
    )


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
