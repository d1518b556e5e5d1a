"""The verdict: what the test set tells, and no more than it does."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ich.evaluation.notation import number, p_value

_FEW = 100  # slices, a few scans: the bootstrap of so few patients is no guide


def verdict(
    metrics: Mapping[str, pd.DataFrame],
    pairs: pd.DataFrame,
    synthetic: bool,
    members: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Say in two sentences what the test part tells, and no more than it does.

    The experiments are ordered by the mean log loss of the classes, which has a value on any test part. Whether the
    order of the best two may be chance is said by their paired difference alone: intervals of two values may overlap
    where that of the difference leaves zero out.

    Parameters
    ----------
    metrics : mapping of experiment to DataFrame
        As of `comparison`.
    pairs : DataFrame
        As from `pairs.pairs`, of the first training of each experiment; empty of one experiment.
    synthetic : bool
        Say that the data is synthetic.
    members : mapping of experiment to sequence of str, or None
        As of `comparison`.
    """
    losses = {name: _mean_log_loss(frame, "log_loss") for name, frame in metrics.items()}
    first_frame = next(iter(metrics.values()))
    slices = first_frame.loc[first_frame["part"] == "test", "n"].iloc[0]
    best, *others = sorted(losses, key=lambda name: losses[name][0])
    if others:
        trained = [members[name] if members else [name] for name in (best, others[0])]
        remark = "these are too few slices to conclude from"
        if slices >= _FEW:
            remark = _paired(pairs, trained[0][0], trained[1][0], len(losses))
            if any(len(each) > 1 for each in trained):
                remark = f"of their first trainings alone, {remark}"
        first = (
            f"On {slices:,} test slices {best} has the lowest average log loss, {number(*losses[best])}, which is "
            f"{losses[others[0]][0] - losses[best][0]:.3f} below the {number(*losses[others[0]])} of {others[0]}; "
            f"{remark}."
        )
    else:
        first = f"On {slices:,} test slices {best} has an average log loss of {number(*losses[best])}."

    prior, _, _ = _mean_log_loss(first_frame, "prior_log_loss")
    last = f"the {prior:.3f} that forecasting the prevalence of the training part gives"
    below = [name for name, (_, _, upper) in losses.items() if upper < prior]
    if slices < _FEW or any(math.isnan(upper) for _, _, upper in losses.values()):
        last = f"To compare with: {last}"
    elif 0 < len(below) < len(losses):
        plural = len(below) > 1
        names = " and ".join(below)
        last = f"Only the interval{'s' * plural} of {names} {'lie' if plural else 'lies'} wholly below {last}"
    else:
        none, every = {
            1: ("Its interval does not lie", "Its interval lies"),
            2: ("The interval of neither lies", "The intervals of both lie"),
        }.get(len(losses), ("The interval of none lies", "The intervals of all lie"))
        last = f"{every if below else none} wholly below {last}"
    if synthetic:
        last += "; the data is synthetic, so none of this says how well the models read scans of patients"
    return f"{first} {last}."


def _paired(pairs: pd.DataFrame, best: str, other: str, count: int) -> str:
    """Say by how much the other's mean log loss is higher on the same slices, and whether that may be chance.

    best and other are trainings, chosen out of `count`.
    """
    rows = pairs[(pairs["unit"] == "slice") & (pairs["class"] == "mean") & (pairs["metric"] == "log_loss")]
    row = rows[rows["first"].isin([best, other]) & rows["second"].isin([best, other])].iloc[0]
    value, lower, upper = row["value"], row["lower"], row["upper"]
    if row["first"] == best:
        value, lower, upper = -value, -upper, -lower
    if math.isnan(lower):
        return "the paired difference has no interval, so this order may be chance"
    p = f"p = {p_value(row['p'])}".replace("= <", "< ")
    chosen = f" (not corrected for the choice of two out of {count})" if count > 2 else ""
    said = f"the paired difference is {number(value, lower, upper)}, {p}{chosen}: "
    if lower > 0:
        return said + "its interval leaves zero out, so chance in the choice of patients hardly explains this order"
    if upper < 0:
        return said + "its interval lies wholly on the other side of zero"
    return said + "its interval holds zero, so this order may be chance"


def _mean_log_loss(frame: pd.DataFrame, metric: str) -> tuple[float, float, float]:
    row = frame[(frame["part"] == "test") & (frame["metric"] == metric) & (frame["class"] == "mean")].iloc[0]
    return float(row["value"]), float(row["lower"]), float(row["upper"])
