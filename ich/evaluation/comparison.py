"""The comparison table (figure 6 of the paper): any number of experiments, the baselines, and the paper's numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ich.base.classes import SUBTYPES
from ich.evaluation import paper
from ich.evaluation.metrics import kaggle_log_loss
from ich.evaluation.notation import duration, number, reason_of

TABLE_COLUMNS = [
    "quantity", "column", "source", "data", "seeds", "value", "lower", "upper", "sd", "text", "reason", "notes"
]  # fmt: skip
CLASS_METRICS = (
    "roc_auc", "average_precision", "pr_auc_trapezoid", "log_loss", "prior_log_loss", "accuracy",
    "always_negative_accuracy", "brier", "threshold",
)  # fmt: skip
# Rows of the table that are metrics on test: what they are called, the metric and the class.
_METRIC_ROWS = {
    "Overall accuracy (mean of classes)": ("accuracy", "mean"),
    "Average log loss (mean of classes)": ("log_loss", "mean"),
    "Log loss, any counted twice": ("log_loss", "kaggle"),
    "ROC AUC, mean of classes": ("roc_auc", "mean"),
    "ROC AUC of any": ("roc_auc", "any"),
    "Average precision of any": ("average_precision", "any"),
    "PR AUC (trapezoid) of any": ("pr_auc_trapezoid", "any"),
}
_BEST, _WORST = "Best subtype (ROC AUC)", "Worst subtype (ROC AUC)"
_EPOCHS, _TIME, _DEVICE, _PARAMETERS = "Epoch kept, of epochs", "Training time", "Trained on", "Parameters"
QUANTITIES = (*_METRIC_ROWS, _BEST, _WORST, _EPOCHS, _TIME, _DEVICE, _PARAMETERS)

NO_MODEL = "no model"
_BASELINES = {"accuracy": "always_negative_accuracy", "log_loss": "prior_log_loss"}
_OWN = "test part of this run"
_NOTHING_TO_RANK = "without a model there is nothing to rank and nothing to train"
_NOT_PUBLISHED = "not published, or not among the published numbers that are kept here"


def over_seeds(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put the metrics of trainings that differ by their seed together.

    Parameters
    ----------
    frames : sequence of DataFrame
        As from `evaluation.evaluate`, one a seed, of the same slices and settings.

    Returns
    -------
    DataFrame
        The same rows, and the columns seeds and sd. value is the mean over the seeds, sd their standard deviation
        (divisor seeds - 1; NaN of one seed). lower and upper are means over the seeds as well: the interval of a
        single training, from drawing patients. The mean of several varies no more than that.
    """
    keys = ["part", "metric", "class"]
    first, *others = frames
    assert all(other[keys].equals(first[keys]) for other in others), "metrics of other rows"
    joined = first.assign(seeds=len(frames), sd=math.nan)
    for name in ("value", "lower", "upper"):
        joined[name] = np.mean([frame[name] for frame in frames], axis=0)
    if others:
        with np.errstate(invalid="ignore"):  # a threshold that calls no slice positive is infinite
            joined["sd"] = np.std([frame["value"] for frame in frames], axis=0, ddof=1)
        reasons = pd.concat([frame["reason"].replace("", None) for frame in frames], axis=1)
        joined["reason"] = reasons.bfill(axis=1).iloc[:, 0].fillna("")
    return joined


def comparison(
    metrics: Mapping[str, pd.DataFrame],
    facts: Mapping[str, Mapping[str, Any]],
    members: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Put the experiments beside the baselines and the paper.

    Parameters
    ----------
    metrics : mapping of experiment to DataFrame
        As from `evaluation.evaluate` or `over_seeds`; the part `test` is shown, slice by slice.
    facts : mapping of training to mapping
        model.json of each.
    members : mapping of experiment to sequence of str, or None
        Names of its trainings, one a seed; None: an experiment is one training of the same name.

    Returns
    -------
    DataFrame
        `TABLE_COLUMNS`, a row a cell. source is experiment, baseline or paper; data is what was tested on; text is
        what a table shows; sd is the standard deviation over an experiment's seeds, which are counted in seeds; reason
        says why a cell is empty or its interval incomplete; notes are keys of `paper.NOTES`, separated by spaces. No
        value is missing without a reason.
    """
    tests = {name: frame[frame["part"] == "test"].set_index(["metric", "class"]) for name, frame in metrics.items()}
    first = next(iter(tests.values()))
    slices = int(first["n"].iloc[0])
    members = members or {name: [name] for name in metrics}
    published = paper.DATA + ("" if paper.is_test_set(slices) else ": another data set")
    columns = [
        *(
            (name, "experiment", "test part of this run", _experiment(rows, [facts[each] for each in members[name]]))
            for name, rows in tests.items()
        ),
        (NO_MODEL, "baseline", "test part of this run", _baseline(first)),
        *((f"{name} (paper)", "paper", published, _published(name)) for name in paper.RESULTS),
        (f"{NO_MODEL} (paper)", "paper", published, _published_baseline()),
    ]
    return pd.DataFrame(
        [
            {
                "quantity": quantity,
                "column": column,
                "source": source,
                "data": data,
                "seeds": len(members.get(column, ())),
                **cells[quantity],
            }
            for column, source, data, cells in columns
            for quantity in QUANTITIES
        ],
        columns=TABLE_COLUMNS,
    )


def _cell(
    value: float = math.nan, lower: float = math.nan, upper: float = math.nan, sd: float = math.nan,
    *, text: str | None = None, reason: str = "", notes: str = "",
) -> dict[str, Any]:  # fmt: skip
    text = number(value, lower, upper, sd) if text is None else text
    return {"value": value, "lower": lower, "upper": upper, "sd": sd, "text": text, "reason": reason, "notes": notes}


def _measured(rows: pd.DataFrame, key: tuple[str, str]) -> dict[str, Any]:
    """Give the cell of a metric of a class."""
    row: Any = rows.loc[key]
    sd = float(row.get("sd", math.nan))  # there is none without `over_seeds`
    return _cell(float(row["value"]), float(row["lower"]), float(row["upper"]), sd, reason=reason_of(row))


def _experiment(rows: pd.DataFrame, known: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give the cells of an experiment."""
    best = [each["best_epoch"] for each in known]
    epochs = max(len(each["seconds_per_epoch"]) for each in known)
    seconds, parameters = [each["seconds"] for each in known], known[0]["parameters"]
    spread = float(np.std(seconds, ddof=1)) if len(known) > 1 else math.nan
    time = duration(float(np.mean(seconds))) + (f" (SD {duration(spread)})" if len(known) > 1 else "")
    return (
        {quantity: _measured(rows, key) for quantity, key in _METRIC_ROWS.items()}
        | _extremes({name: rows["value"]["roc_auc", name] for name in SUBTYPES})
        | {
            _EPOCHS: _cell(float(np.mean(best)), text=f"{', '.join(map(str, best))} of {epochs}"),
            _TIME: _cell(float(np.mean(seconds)), sd=spread, text=time),
            _DEVICE: _cell(text=", ".join(dict.fromkeys(each["hardware"]["device"] for each in known))),
            _PARAMETERS: _cell(parameters, text=f"{parameters / 1e6:.1f} million"),
        }
    )


def _baseline(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Give the cells of always saying no (accuracy) and always forecasting the prevalence of training (the others)."""
    rows = rows.assign(sd=math.nan)  # it has no seed
    cells = dict.fromkeys(QUANTITIES, _cell(reason=_NOTHING_TO_RANK))
    for quantity, (metric, group) in _METRIC_ROWS.items():
        measured: Any = rows.loc[(metric, group)]
        if metric in _BASELINES:
            cells[quantity] = _measured(rows, (_BASELINES[metric], group))
        elif metric == "roc_auc" and math.isfinite(measured["value"]):
            cells[quantity] = _cell(0.5)  # by definition, of a forecast that is the same for every slice
        elif metric == "average_precision" and math.isfinite(measured["value"]):
            cells[quantity] = _cell(float(measured["positive"] / measured["n"]))
    return cells


def _published(name: str) -> dict[str, dict[str, Any]]:
    """Give the cells of a model of the paper."""
    model = paper.RESULTS[name]
    cells = dict.fromkeys(QUANTITIES, _cell(reason=_NOT_PUBLISHED))
    for quantity, key in _METRIC_ROWS.items():
        value, notes = paper.published(name, *key)
        if not math.isnan(value):
            cells[quantity] = _cell(value, notes=notes)
    return cells | {
        **_extremes({group: paper.published(name, "roc_auc", group)[0] for group in SUBTYPES}),
        _EPOCHS: _cell(model.epochs, text=f"{model.epochs} of {model.epochs}", notes="last"),
        _TIME: _cell(reason=_NOT_PUBLISHED, notes="loading"),
    }


def _published_baseline() -> dict[str, dict[str, Any]]:
    """Give the cells of no model on the paper's test set."""
    losses = np.array(paper.PRIOR_LOG_LOSS)
    values = {
        ("accuracy", "mean"): float(np.mean(paper.ALWAYS_NEGATIVE_ACCURACY)),
        ("log_loss", "mean"): float(losses.mean()),
        ("log_loss", "kaggle"): float(kaggle_log_loss(losses)),
        ("roc_auc", "mean"): 0.5,
        ("roc_auc", "any"): 0.5,
        ("average_precision", "any"): paper.PREVALENCE["test"][-1],
    }
    return dict.fromkeys(QUANTITIES, _cell(reason=_NOTHING_TO_RANK)) | {
        quantity: _cell(values[key]) for quantity, key in _METRIC_ROWS.items() if key in values
    }


def _extremes(aucs: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Give the cells of the best and the worst subtype, of those that have a value."""
    defined = {name: value for name, value in aucs.items() if not math.isnan(value)}
    if not defined:
        return dict.fromkeys((_BEST, _WORST), _cell(reason="no subtype has both positive and negative slices"))
    missing = [name for name in aucs if name not in defined]
    reason = f"no value for {', '.join(missing)}" if missing else ""
    best, worst = max(defined, key=defined.__getitem__), min(defined, key=defined.__getitem__)
    return {
        quantity: _cell(defined[name], text=f"{name} {defined[name]:.3f}", reason=reason)
        for quantity, name in ((_BEST, best), (_WORST, worst))
    }


def by_class(metrics: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Give every metric of every class and experiment on test, baselines included.

    Returns
    -------
    DataFrame
        experiment, class, metric, value, lower, upper, seeds, sd, n, positive, reason.
    """
    frames = [
        frame[(frame["part"] == "test") & frame["metric"].isin(CLASS_METRICS)].assign(experiment=name)
        for name, frame in metrics.items()
    ]
    columns = [
        "experiment", "class", "metric", "value", "lower", "upper", "seeds", "sd", "n", "positive", "reason"
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True).reindex(columns=columns)  # seeds and sd come from `over_seeds`
