"""Grid search: the patients that its points are trained on, the table of points, and the best of them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ich.base.errors import InputError

MEASURES = ["epochs", "best_epoch", "validation_roc_auc", "validation_loss", "seconds"]


def subset(cohort: pd.DataFrame, *, train: float, validation: float, seed: int) -> pd.DataFrame:
    """Draw patients of the training and of the validation part at random, and keep all of their slices.

    With the same seed a larger subset holds a smaller one, and one part's does not depend on the size of the other's.

    Parameters
    ----------
    cohort : DataFrame
        image_id, patient_id, part, and anything else.
    train, validation : float or int
        Patients of the part: up to 1 their share (rounded, one at least), above their number.
    seed : int
        Of the draw.

    Returns
    -------
    DataFrame
        Rows of `cohort` in their order, none of the part `test`.

    Raises
    ------
    InputError
        A part has fewer patients than are to be drawn.
    """
    drawn: list[str] = []
    for place, (part, amount) in enumerate({"train": train, "validation": validation}.items()):
        patients = np.sort(cohort.loc[cohort["part"] == part, "patient_id"].unique())
        size = int(amount) if amount > 1 else max(1, round(amount * len(patients)))
        if size > len(patients):
            raise InputError(
                f"the search is to draw {size} patients of the part {part}, which has {len(patients)}; write fewer as "
                f"search.{part}, or a share up to 1"
            )
        drawn += list(np.random.default_rng([seed, place]).permutation(patients)[:size])
    return cohort[cohort["part"].isin(["train", "validation"]) & cohort["patient_id"].isin(drawn)]


def summary(history: pd.DataFrame, best_epoch: int, seconds: float) -> dict[str, Any]:
    """Give the measures of a point.

    Parameters
    ----------
    history : DataFrame
        As of `training.Trained`.
    best_epoch : int
        The epoch whose weights would have been kept.
    seconds : float
        Of the whole training.

    Returns
    -------
    dict
        `MEASURES`: ROC AUC (mean of the classes that have one; None where none has) and loss (nats) are of the best
        epoch, on the drawn patients of the validation part.
    """
    best: Any = history.set_index("epoch").loc[best_epoch]
    auc = float(best["validation_roc_auc"])
    values = [len(history), best_epoch, None if math.isnan(auc) else auc, float(best["validation_loss"]), seconds]
    return dict(zip(MEASURES, values, strict=True))


def table(points: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Put the points together and choose the best: highest ROC AUC, then lowest loss, then the first.

    Parameters
    ----------
    points : mapping of point to mapping
        Its values by dotted key.
    measured : mapping of point to mapping
        As from `summary`.

    Returns
    -------
    DataFrame
        A row a point, in the order of `points`: point, a column for each key, `MEASURES`, and chosen (true in one row).
    """
    frame = pd.DataFrame([{"point": name, **values, **measured[name]} for name, values in points.items()])
    frame["validation_roc_auc"] = frame["validation_roc_auc"].astype(float)
    order = frame.sort_values(["validation_roc_auc", "validation_loss"], ascending=[False, True], kind="stable")
    return frame.assign(chosen=frame.index == order.index[0])
