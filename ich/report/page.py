"""The page: one self-contained HTML file with every table and figure. It reads results and measures nothing."""

import functools
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ich.base.classes import CLASSES
from ich.evaluation import paper
from ich.evaluation.notation import duration, letters, number, reason_of
from ich.report import facts, grids
from ich.report.checklist import SOURCES, checklist
from ich.report.grids import Grid
from ich.report.pictures import Picture

_HERE = Path(__file__).parent
LIMIT = 15_000_000  # bytes of the page, so that it can be sent by mail and opened on a telephone
_PARTS = ("train", "validation", "test")


_SECTIONS = {
    "comparison": "Comparison",
    "classes": "Results by class",
    "scans": "Results by scan",
    "differences": "Differences",
    "cohort": "Cohort",
    "curves": "Curves",
    "operating-points": "Operating points",
    "calibration": "Calibration",
    "subgroups": "Subgroups",
    "cases": "Cases",
    "training": "Training",
    "search": "Search",
    "environment": "Environment",
    "resources": "Time and memory",
    "configuration": "Configuration",
    "use": "Limits and intended use",
    "checklists": "Checklists",
}


# The tables by class: metric, title, what is good; and the baseline's metric where there is one.
_SCORES = (
    ("roc_auc", "ROC AUC", "Higher is better; chance is 0.5.", ""),
    ("average_precision", "Average precision", "Higher is better; chance is the prevalence.", ""),
    ("brier", "Brier score", "Lower is better.", ""),
    (
        "pr_auc_trapezoid",
        "PR AUC (trapezoid)",
        "Kept to compare with the paper; average precision is the sound figure.",
        "",
    ),
    (
        "log_loss",
        "Log loss",
        "Lower is better. No model: forecasting the prevalence of the training part.",
        "prior_log_loss",
    ),
    ("accuracy", "Accuracy", "Higher is better. No model: always saying no.", "always_negative_accuracy"),
    ("threshold", "Threshold", "Probability from which on a slice is called positive; ∞ calls none.", ""),
)


def render(
    *,
    comparison: str,
    verdict: str,
    classes: pd.DataFrame,
    counts: pd.DataFrame,
    described: pd.DataFrame,
    flow: Mapping[str, Any],
    quarantine: pd.DataFrame,
    models: Mapping[str, Mapping[str, Any]],
    evaluations: Mapping[str, Mapping[str, pd.DataFrame]],
    pairs: pd.DataFrame,
    sections: Mapping[str, Sequence[Picture]],
    cases: Mapping[str, Sequence[tuple[str, Sequence[Picture]]]],
    searches: Mapping[str, tuple[pd.DataFrame, Picture]],
    resources: pd.DataFrame,
    configuration: Mapping[str, Any],
    results: str | Path,
    version: str,
    commit: str | None,
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
    described : DataFrame
        As from `characteristics.characteristics`.
    flow : mapping
        data/flow.json.
    quarantine : DataFrame
        data/quarantine.csv; only its counts reach the page, for a file's name may hold a patient's.
    models : mapping of experiment to mapping
        model.json of each.
    evaluations : mapping of experiment to mapping of name to DataFrame
        metrics.csv, operating_points.csv, calibration.csv and subgroups.csv of each, by their names without suffix.
    pairs : DataFrame
        comparison/pairs.csv.
    sections : mapping
        The figures of the sections `cohort`, `results`, `scans`, `differences`, `operating_points`, `calibration`,
        `subgroups`, `cases` and `training`.
    cases : mapping of experiment to list
        As from `gallery`.
    searches : mapping of experiment to DataFrame and picture
        As from `search.table`, and its figure.
    resources : DataFrame
        As from `resources.resources`.
    configuration : mapping
        The whole configuration.
    results : path
        The folder of the results: files are named as seen from it.
    version : str
        As from `version.version`.
    commit : str or None
        As of `provenance.commit`.
    synthetic : bool
        Say on top that the data is synthetic.

    Returns
    -------
    str
        HTML of at most `LIMIT` bytes; the same from equal inputs. Of pictures that would not fit, the caption stands
        there and the name of the file: first of the cases, those of the last places before the others.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["count"] = "{:,}".format
    environment.filters["within"] = lambda path: os.path.relpath(path, results)
    slices = int(classes["n"].iloc[0])
    absent = {name for name, content in (("search", searches), ("differences", len(pairs))) if not content}
    write = functools.partial(
        environment.get_template("page.html").render,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
        comparison=Markup(comparison),
        verdict=verdict,
        scores=[*_scores(classes)],
        slices=slices,
        several_seeds=bool((classes["seeds"] > 1).any()),
        published=f"Published, {paper.DATA}" + ("" if paper.is_test_set(slices) else ": another data set"),
        confidence=f"{configuration['evaluation']['confidence']:.0%}",
        parts=_PARTS,
        characteristics=[*_characteristics(counts, described, flow)],
        flow=flow,
        excluded={
            stage: [*quarantine.loc[quarantine["stage"] == stage, "reason"].value_counts().sort_index().items()]
            for stage in ("headers", "slices", "cohort", "cache")
        },
        experiments=list(models),
        channels={name: facts.channels(model) for name, model in models.items()},
        training=[*facts.training(models)],
        environment=[*facts.environment(models)],
        grids={
            "scans": grids.scans({name: tables["metrics"] for name, tables in evaluations.items()}),
            "differences": [*grids.differences(pairs)],
            "operating-points": _each(evaluations, "operating_points", grids.operating_points),
            "calibration": _each(evaluations, "calibration", grids.calibration),
            "subgroups": _each(evaluations, "subgroups", grids.subgroups),
        },
        scan_rule=configuration["evaluation"]["scan"],
        decision=_decision(configuration["evaluation"]["threshold"]),
        prevalence=f"{configuration['evaluation']['prevalence']:g}",
        version=version,
        commit=commit,
        titles={name: title for name, title in _SECTIONS.items() if name not in absent},
        checklists=[*_checklists()],
        sections=sections,
        cases=cases,
        searches={name: ([*_points(table)], picture) for name, (table, picture) in searches.items()},
        resources=[*_resources(resources)],
        configuration=yaml.safe_dump(dict(configuration), sort_keys=True),
        citation=paper.CITATION,
        synthetic=synthetic,
    )
    figures = [*itertools.chain.from_iterable(sections.values()), *(picture for _, picture in searches.values())]
    return _limited(write, [*figures, *_by_place(cases)])


def _by_place(cases: Mapping[str, Sequence[tuple[str, Sequence[Picture]]]]) -> list[Picture]:
    """Give the pictures of all cases, the first of each cell before the second ones."""
    cells = [
        [*cell]
        for classes in cases.values()
        for _, pictures in classes
        for _, cell in itertools.groupby(pictures, key=lambda picture: picture.title)
    ]
    return [picture for row in itertools.zip_longest(*cells) for picture in row if picture]


def _limited(write: Callable[..., str], pictures: Sequence[Picture]) -> str:
    """Write the page with as many of the pictures, the first ones, as its limit allows."""
    page = write(shown={*pictures})
    sizes = [*itertools.accumulate(len(picture.data) for picture in pictures)]
    excess = len(page.encode()) - LIMIT
    if excess <= 0:
        return page
    return write(shown={picture for picture, size in zip(pictures, sizes, strict=True) if size <= sizes[-1] - excess})


def _scores(classes: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Give a table for each metric: a row a class, a column an experiment, the baseline or a model of the paper."""
    records: list[Any] = classes.to_dict("records")
    rows = {(row["experiment"], row["metric"], row["class"]): row for row in records}
    experiments = [*dict.fromkeys(row["experiment"] for row in records)]
    for metric, title, remark, baseline in _SCORES:
        groups = [group for experiment, each, group in rows if (experiment, each) == (experiments[0], metric)]
        keys = [*((name, metric) for name in experiments), *([(experiments[0], baseline)] if baseline else [])]
        reasons = letters(reason_of(rows[*key, group]) for group in groups for key in keys)
        published = not math.isnan(paper.published("ResNet18", metric, "any")[0])
        table = []
        for group in groups:
            cells = [_cell(rows[*key, group], reasons) for key in keys]
            if published:
                cells += [_published(*paper.published(model, metric, group)) for model in paper.RESULTS]
            positive = rows[experiments[0], metric, group]["positive"]
            table.append((group, "" if pd.isna(positive) else f"{int(positive):,}", cells))
        yield {
            "metric": metric,
            "title": title,
            "remark": remark,
            "columns": [*experiments, *(["no model"] if baseline else [])],
            "published": [*paper.RESULTS] if published else [],
            "rows": table,
            "reasons": {mark: reason for reason, mark in reasons.items()},
        }


def _cell(row: Mapping[str, Any], reasons: Mapping[str, str]) -> dict[str, Any]:
    """Give what a cell shows, its value in full to sort by, and the mark of its reason."""
    value, _, interval = number(row["value"], row["lower"], row["upper"], row["sd"]).partition(" (")
    return {
        "value": value,
        "interval": interval and f"({interval}",
        "sort": "" if math.isnan(row["value"]) else repr(float(row["value"])),
        "mark": reasons.get(reason_of(row), ""),
        "notes": [],
    }


def _published(value: float, notes: str) -> dict[str, Any]:
    """Give the cell of a value of the paper."""
    cell = _cell({"value": value, "lower": math.nan, "upper": math.nan, "sd": math.nan, "reason": ""}, {})
    return cell | {"notes": [paper.note_number(key) for key in notes.split()]}


def _characteristics(
    counts: pd.DataFrame, described: pd.DataFrame, flow: Mapping[str, Any]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Give the rows of the table of the cohort: what is counted, in each part, and the paper's share."""
    for size in ("patients", "series", "slices"):
        yield size, [f"{flow[part][size]:,}" for part in _PARTS], []
    records: list[Any] = counts.to_dict("records")
    rows = {(row["part"], row["class"]): row for row in records}
    for place, name in enumerate(CLASSES):
        cells = [rows[part, name] for part in _PARTS]
        ours = [f"{int(cell['positive']):,} ({cell['prevalence']:.1%})" for cell in cells]
        yield f"slices with {name}", ours, [f"{paper.PREVALENCE[part][place]:.1%}" for part in _PARTS]
    for (title, group), found in described.fillna({"group": ""}).groupby(["characteristic", "group"], sort=False):
        each_part: list[Any] = found.set_index("part").loc[[*_PARTS]].to_dict("records")
        yield f"{title} {group}".strip(), [_described(cell) for cell in each_part], []


def _described(cell: Mapping[str, Any]) -> str:
    """Write a number with its share, or a median with its quartiles."""
    if not math.isnan(cell["share"]):
        return f"{cell['n']:,} ({cell['share']:.1%})"
    if math.isnan(cell["median"]):
        return "–"
    return f"{cell['median']:.1f} ({cell['lower_quartile']:.1f} to {cell['upper_quartile']:.1f})"


def _points(table: pd.DataFrame) -> Iterator[list[str]]:
    """Give the head and the rows of the table of a search, best first."""
    keys = [*table.columns[1 : table.columns.get_loc("epochs")]]
    yield [*keys, "epochs", "best epoch", "ROC AUC", "loss", "time", "choice"]
    records: list[Any] = table.sort_values(["chosen", "validation_roc_auc"], ascending=False).to_dict("records")
    for row in records:
        measured = [number(row["validation_roc_auc"]), number(row["validation_loss"]), duration(row["seconds"])]
        values = [f"{row[key]:g}" if isinstance(row[key], float) else f"{row[key]}" for key in keys]
        yield [*values, f"{row['epochs']}", f"{row['best_epoch']}", *measured, "chosen" if row["chosen"] else ""]


def _resources(table: pd.DataFrame) -> Iterator[list[str]]:
    """Give the rows of the table of what the jobs took, and their sum."""
    sums = table[["jobs", "hours", "cpu_hours"]].sum()
    most = table[["longest_seconds", "peak_memory_mb"]].max()
    total = pd.DataFrame([{"rule": "all", **sums, **most}])
    records: list[Any] = [*table.to_dict("records"), *(total.to_dict("records") if len(table) > 1 else [])]
    for row in records:
        times = [duration(row["hours"] * 3600), duration(row["longest_seconds"])]
        processors = "–" if math.isnan(row["cpu_hours"]) else duration(row["cpu_hours"] * 3600)
        memory = "–" if math.isnan(row["peak_memory_mb"]) else f"{row['peak_memory_mb']:,.0f} MB"
        yield [row["rule"], f"{row['jobs']:,.0f}", *times, processors, memory]


def _decision(rule: str | float) -> str:
    """Say what the rule of the operating point `decision` is (`metrics.choose_threshold`)."""
    return {
        "accuracy": "the most right calls, which of a rare class may be to call nothing",
        "youden": "the same as the next",
    }.get(str(rule), f"the probability {rule}")


def _each(
    evaluations: Mapping[str, Mapping[str, pd.DataFrame]], table: str, show: Callable[[pd.DataFrame], Iterator[Grid]]
) -> dict[str, list[Grid]]:
    """Give the tables of each experiment."""
    return {name: [*show(tables[table])] for name, tables in evaluations.items()}


def _checklists() -> Iterator[dict[str, Any]]:
    """Give the items of each guideline."""
    for guideline, rows in checklist().groupby("guideline", sort=False):
        yield {
            "guideline": guideline,
            "source": SOURCES[str(guideline)],
            "answered": int((rows["place"] != "").sum()),
            "rows": rows.to_dict("records"),
        }
