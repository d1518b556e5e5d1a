"""Metrics by what the headers and labels of a slice or a scan say."""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from ich.base.classes import CLASSES, SUBTYPES
from ich.cohort.series import SERIES, _pixels, series_facts
from ich.evaluation import metrics
from ich.evaluation.evaluate import no_label, no_threshold, thresholds
from ich.evaluation.operating import counted, rates
from ich.evaluation.units import Sample, Samples

SUBGROUPS_COLUMNS = [
    "part", "unit", "subgroup", "group", "class", "metric", "value", "lower", "upper", "n", "positive", "patients",
    "patients_positive", "patients_negative", "few", "reason",
]  # fmt: skip
METRICS = ("roc_auc", "average_precision", "log_loss", "brier", "sensitivity", "specificity")
FEW = 20  # patients: the bootstrap's intervals are too narrow with fewer (Cameron, Gelbach and Miller 2008)


def subgroups(samples: Samples, slices: pd.DataFrame, *, threshold: str | float, part: str = "test") -> pd.DataFrame:
    """Measure each subgroup of a part.

    Parameters
    ----------
    samples : mapping of (part, unit) to Sample
        As from `units.samples`, the part `validation` among them unless `threshold` is a number.
    slices : DataFrame
        `HEADERS` of the manifest (`slices.SLICES_SCHEMA`), all slices of the series in question.
    threshold : {"accuracy", "youden"} or float
        The decision rule at which sensitivity and specificity are given.
    part : str
        Which part is measured.

    Returns
    -------
    DataFrame
        `SUBGROUPS_COLUMNS`, a row for each unit, subgroup (`all`, then those of `groups`), group that occurs, class and
        metric of `METRICS`. patients, patients_positive and patients_negative hold a unit, a positive and a negative
        one. few is true where fewer than `FEW` patients hold a unit of a label that the metric needs: a positive one
        for the sensitivity, a negative one for the specificity, both for ROC AUC and average precision, either for
        log loss and Brier score. Of `any` every unit with a subtype is positive, so that `one` and `two or more` are
        measured against all units of `none`, which count in the columns of these rows.
    """
    frames = []
    for unit in dict.fromkeys(unit for each, unit in samples if each == part):
        sample, cuts = samples[part, unit], thresholds(samples, unit, threshold)
        everyone = {"all": pd.Categorical(["all"] * len(sample))}
        for subgroup, names in (everyone | groups(sample, slices)).items():
            for place, group in enumerate(names.categories):
                chosen = names.codes == place
                if chosen.any():
                    rows = [*_rows(sample.take(chosen), cuts, CLASSES)]
                    if subgroup == "subtypes" and group != "none":
                        against = sample.take(chosen | (names == "none"))
                        rows = [row for row in rows if row["class"] != "any"] + [*_rows(against, cuts, ("any",))]
                    frames.append(pd.DataFrame(rows).assign(part=part, unit=unit, subgroup=subgroup, group=group))
    return pd.concat(frames, ignore_index=True)[SUBGROUPS_COLUMNS]


def groups(sample: Sample, slices: pd.DataFrame) -> dict[str, pd.Categorical]:
    """Name the group of each unit of a sample, by subgroup.

    Returns
    -------
    dict of Categorical [unit]
        pixels: bits stored and sign; `mixed` of a scan whose slices differ. tilt: degrees between the slice normal and
        the patient's axis. spacing: median distance of the series' slices, in mm. slices: their number in the series.
        position (of slices alone): third of the series, from the feet up. subtypes: how many of the five the unit is
        labelled with. Categories stand in their order.
    """
    slices = slices.assign(pixels=_pixels(slices))
    rows = sample.rows.merge(series_facts(slices), left_on=SERIES, right_index=True, how="left", validate="many_to_one")
    position = {}
    if sample.unit == "slice":
        own = slices.set_index("image_id").loc[rows["image_id"]]
        rows["pixels"] = own["pixels"].to_numpy()
        third = 3 * own["index"].to_numpy() // rows["slices"].to_numpy()
        position["position"] = _named(third, ["lower third", "middle third", "upper third"])
    subtypes = rows[[*SUBTYPES]].sum(axis=1).clip(upper=2).to_numpy()
    return {
        "pixels": pd.Categorical(rows["pixels"]),
        "tilt": _cut(rows["tilt"], (5, 15), "°"),
        "spacing": _cut(rows["spacing"], (4, 6), " mm"),
        "slices": _cut(rows["slices"], (30, 40), ""),
        **position,
        "subtypes": _named(subtypes, ["none", "one", "two or more"]),
    }


def _cut(values: pd.Series, at: tuple[int, int], mark: str) -> pd.Categorical:
    """Cut numbers in three; `not known` where there is none, such as the spacing of a single slice."""
    low, high = at
    names = [f"under {low}{mark}", f"{low} to {high}{mark}", f"{high}{mark} or more", "not known"]
    return _named(np.where(values.isna(), 3, np.searchsorted(at, values, side="right")), names)


def _named(codes: np.ndarray, names: list[str]) -> pd.Categorical:
    return pd.Categorical(np.array(names)[codes], categories=names)


def _rows(sample: Sample, cuts: np.ndarray, classes: Collection[str]) -> Iterator[dict[str, Any]]:
    log_losses = metrics.log_losses(sample.labels, sample.probabilities)
    errors = metrics.squared_errors(sample.labels, sample.probabilities)
    log_loss_draws, error_draws = np.split(sample.means(np.hstack([log_losses, errors])), 2, axis=1)
    shares, share_draws = (rates(each) for each in counted(sample, cuts))
    for number, (name, pair) in enumerate(zip(CLASSES, sample.pairs(), strict=True)):
        if name not in classes:
            continue
        labels = pair[0]
        everyone, with_positive, with_negative = (
            len(np.unique(sample.patients[chosen])) for chosen in (labels >= 0, labels == 1, labels == 0)
        )
        known = {
            "class": name,
            "n": len(sample),
            "positive": int(labels.sum()),
            "patients": everyone,
            "patients_positive": with_positive,
            "patients_negative": with_negative,
        }
        missing = no_label(sample, number) if metrics.missing_label(labels) else ""
        ranked = sample.ranking(*pair)
        values: dict[str, tuple[float, np.ndarray | None, str]] = {
            "roc_auc": (metrics.roc_auc(*pair), ranked["roc_auc"], missing),
            "average_precision": (metrics.average_precision(*pair), ranked["average_precision"], missing),
            "log_loss": (log_losses[:, number].mean(), log_loss_draws[:, number], ""),
            "brier": (errors[:, number].mean(), error_draws[:, number], ""),
        }
        for measure in ("sensitivity", "specificity"):
            if np.isnan(cuts[number]):
                values[measure] = np.nan, None, no_threshold(sample.unit)
            else:
                values[measure] = shares[measure][number], share_draws[measure][:, number], missing
        needed = {
            "sensitivity": with_positive,
            "specificity": with_negative,
            "log_loss": everyone,
            "brier": everyone,
        }
        for metric, estimate in values.items():
            few = needed.get(metric, min(with_positive, with_negative)) < FEW
            yield known | {"metric": metric, "few": few} | sample.estimate(*estimate)
