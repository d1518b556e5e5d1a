"""Calibration: measured on test, with scaling that has seen validation alone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from ich.base.classes import CLASSES
from ich.evaluation import calibration as module
from ich.evaluation.calibration import (
    CALIBRATION_COLUMNS,
    METHODS,
    RELIABILITY_COLUMNS,
    calibration,
    fit_isotonic,
    fit_temperature,
    log_odds,
    quantile_bins,
    recalibration,
)
from ich.evaluation.units import PROBABILITIES, samples
from tests.unit import results

SAMPLING = {"scan": "maximum", "replicates": 60, "confidence": 0.9, "seed": 1}
COHORT = results.cohort(1500, 400)  # scans of some four slices


def judged(frame=COHORT, **settings):
    return samples(frame, results.predicted(frame=frame), **SAMPLING | settings)


def made(size=4000, slope=1.0, intercept=0.0, seed=0):
    """Log-odds that, times slope and plus intercept, are those of the labels."""
    random = np.random.default_rng(seed)
    odds = random.normal(-1, 2, size=size)
    return odds, (random.random(size) < expit(intercept + slope * odds)).astype(np.uint8)


def one(odds, labels):
    """Slope and intercept of a sample without replicates."""
    values = recalibration(odds, labels[:, None].astype(float), 1 - labels[:, None].astype(float))
    return tuple(float(each[0]) for each in values)


@pytest.fixture(scope="module")
def sampled():
    return judged()


@pytest.fixture(scope="module")
def found(sampled):
    return calibration(sampled)


# ---- slope and intercept


@pytest.mark.parametrize(("true_slope", "true_intercept"), [(1, 0), (0.5, 1), (3, -2), (-0.7, 0)])
def test_slope_and_intercept_equal_scikit_learns_regression(true_slope, true_intercept):
    odds, labels = made(slope=true_slope, intercept=true_intercept)
    slope, intercept = one(odds, labels)
    fit = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(odds[:, None], labels)
    assert slope == pytest.approx(fit.coef_[0, 0], rel=1e-5)
    large = brentq(lambda level: expit(odds + level).sum() - labels.sum(), -20, 20, xtol=1e-13)
    assert intercept == pytest.approx(large, abs=1e-9)


def test_the_fit_ends_where_most_probabilities_are_extreme():
    random = np.random.default_rng(1)
    odds = np.r_[np.full(3000, -34.5), random.normal(2, 1, 300), np.full(300, 34.5)]
    labels = (random.random(3600) < np.clip(expit(odds), 0.01, 0.95)).astype(np.uint8)
    slope, intercept = one(odds, labels)
    fit = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(odds[:, None], labels)
    assert slope == pytest.approx(fit.coef_[0, 0], rel=1e-4)
    assert expit(odds + intercept).sum() == pytest.approx(labels.sum(), rel=1e-9)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([0, 0, 1, 1], np.inf), ([1, 1, 0, 0], -np.inf), ([0, 1, 1, 1], np.inf)],
)
def test_separated_labels_have_an_infinite_slope_and_an_intercept(labels, expected):
    odds = np.array([-2.0, -1, 1, 2])
    slope, intercept = one(odds, np.array(labels))
    assert slope == expected
    assert expit(odds + intercept).sum() == pytest.approx(sum(labels))


def test_labels_that_share_one_log_odds_but_are_apart_otherwise_have_an_infinite_slope():
    """Albert and Anderson (1984): quasi-complete separation, for which the likelihood has no maximum either."""
    odds, labels = np.array([-2.0, 0, 0, 2]), np.array([0, 0, 1, 1])
    assert one(odds, labels)[0] == np.inf
    loss = [np.logaddexp(0, -np.where(labels == 1, odds, -odds) * slope).sum() for slope in (1, 10, 20)]
    assert loss == sorted(loss, reverse=True)


def test_equal_labels_have_neither_slope_nor_intercept():
    odds = np.array([-2.0, -1, 1, 2])
    assert np.isnan(one(odds, np.ones(4))).all()
    assert np.isnan(one(odds, np.zeros(4))).all()


def test_replicates_that_separate_the_labels_count():
    """With few positives most replicates separate: their slopes lie at the upper end, and are not missing at random."""
    frame = COHORT.copy()
    test = frame.index[frame["part"] == "test"]
    frame.loc[test, "epidural"] = 0
    rare = test[:6]
    frame.loc[rare, "epidural"] = 1
    predictions = results.predicted(frame=frame)
    scores = predictions["test"].set_index("image_id")["probability_epidural"] * 0.3
    scores[frame.loc[rare, "image_id"]] = [0.9, 0.9, 0.9, 0.9, 0.9, 0.05]  # of two patients, one has a low one
    predictions["test"]["probability_epidural"] = scores.to_numpy()
    sample = samples(frame, predictions, **SAMPLING)["test", "slice"]
    owners = set(sample.patients[sample.labels[:, 0] == 1])
    spoiler = sample.patients[(sample.rows["image_id"] == frame.loc[rare[-1], "image_id"]).to_numpy()][0]
    drawn_any = sample.weights[:, sorted(owners)].sum(axis=1) > 0
    separating = drawn_any & (sample.weights[:, spoiler] == 0)
    _, drawn = module._recalibrations(sample, sample.labels[:, 0], log_odds(sample.probabilities[:, 0]))["slope"]
    np.testing.assert_array_equal(np.isnan(drawn), ~drawn_any)
    np.testing.assert_array_equal(drawn == np.inf, separating)
    assert separating.mean() > 0.05
    table, _ = calibration(samples(frame, predictions, **SAMPLING))
    rows = table.query("unit == 'slice' and `class` == 'epidural' and method == 'none'").set_index("measure")
    assert rows.loc["slope", "upper"] == np.inf
    assert np.isfinite(rows.loc["slope", ["value", "lower"]].astype(float)).all()
    assert rows.loc["slope", "reason"].endswith("∞: the probabilities separate the labels")
    used = [reason.partition(";")[0] for reason in rows.loc[["slope", "intercept"], "reason"]]
    assert used[0].replace("∞: the probabilities separate the labels", "") == used[1]  # as many as of the intercept


def test_slope_of_equal_log_odds_has_no_value():
    slope, intercept = one(np.full(6, 0.3), np.array([0, 1, 1, 0, 1, 1]))
    assert np.isnan(slope)
    assert expit(0.3 + intercept) == pytest.approx(4 / 6)


@pytest.mark.parametrize(("exact", "tolerance"), [(2000, 1e-9), (0, 0.02)])
def test_replicates_of_slope_and_intercept_equal_fits_of_each(sampled, exact, tolerance, monkeypatch):
    monkeypatch.setattr(module, "EXACT", exact)
    sample = sampled["test", "slice"]
    labels, odds = sample.labels[:, -1], log_odds(sample.probabilities[:, -1])
    lines = module._recalibrations(sample, labels, odds)
    weights = sample.weights[::7][:, sample.patients].T
    fits = recalibration(odds, weights * labels[:, None], weights * (1 - labels[:, None]))
    for (_, drawn), fit in zip(lines.values(), fits, strict=True):
        np.testing.assert_allclose(drawn[::7], fit, rtol=0, atol=tolerance * drawn.std())


def test_a_piece_at_a_time_gives_the_same(sampled, monkeypatch):
    sample = sampled["test", "slice"]
    labels, odds = sample.labels[:, 2], log_odds(sample.probabilities[:, 2])
    whole = module._recalibrations(sample, labels, odds)
    monkeypatch.setattr("ich.evaluation.statistics.CELLS", 1000)
    for name, (value, drawn) in module._recalibrations(sample, labels, odds).items():
        assert value == whole[name][0]
        np.testing.assert_allclose(drawn, whole[name][1], rtol=1e-9)


# ---- scaling


@pytest.mark.parametrize("heat", [0.4, 1, 3])
def test_temperature_equals_scikit_learns(heat):
    odds, labels = made(slope=1 / heat)
    found = fit_temperature(labels, expit(odds))
    assert found == pytest.approx(heat, rel=0.1)
    base = LogisticRegression(C=np.inf).fit([[-1.0], [1.0], [-1.0], [1.0]], [0, 1, 1, 0])
    base.coef_, base.intercept_ = np.array([[1.0]]), np.array([0.0])  # decision_function gives the log-odds
    fit = CalibratedClassifierCV(FrozenEstimator(base), method="temperature").fit(odds[:, None], labels)
    np.testing.assert_allclose(expit(odds / found), fit.predict_proba(odds[:, None])[:, 1], atol=2e-3)


def test_no_temperature_is_better():
    odds, labels = made(size=300, slope=0.6)
    loss = lambda heat: np.logaddexp(0, -np.where(labels == 1, odds, -odds) / heat).mean()  # noqa: E731
    found = fit_temperature(labels, expit(odds))
    assert loss(found) <= min(loss(heat) for heat in np.linspace(0.2, 10, 5000)) + 1e-12


def test_temperature_of_separated_labels_is_its_bound():
    assert fit_temperature(np.array([0, 1]), np.array([0.4, 0.6])) == pytest.approx(1 / module.HOTTEST, rel=1e-3)
    assert fit_temperature(np.array([1, 0]), np.array([0.4, 0.6])) == pytest.approx(module.HOTTEST, rel=1e-3)


def test_isotonic_scaling_is_scikit_learns_within_its_ends():
    odds, labels = made(size=500)
    scaled = fit_isotonic(labels, expit(odds))(expit(odds))
    free = IsotonicRegression().fit(expit(odds), labels).predict(expit(odds))
    np.testing.assert_allclose(scaled, free.clip(1 / 502, 501 / 502))
    assert (np.diff(scaled[np.argsort(odds)]) >= 0).all()


def test_scaling_has_seen_validation_alone(sampled, found):
    """Other labels in test change no fitted temperature, and no scaled probability."""
    sample = sampled["test", "slice"]
    flipped = sample.rows.assign(**{name: 1 - sample.rows[name] for name in CLASSES})
    other, bins = calibration({**sampled, ("test", "slice"): replace(sample, rows=flipped)})
    before = found[0].query("measure == 'temperature'").reset_index(drop=True)
    assert_frame_equal(
        other.query("measure == 'temperature'").drop(columns="positive").reset_index(drop=True),
        before.drop(columns="positive"),
    )
    columns = ["unit", "class", "method", "bin", "from", "to", "mean_probability", "n"]
    assert_frame_equal(bins[columns], found[1][columns])
    mirrored = bins["unit"] == "slice"
    np.testing.assert_allclose(bins.loc[mirrored, "value"], 1 - found[1].loc[mirrored, "value"])


def test_scaling_mends_what_is_too_hot():
    frame = results.cohort(6000, 1500)
    predictions = results.predicted(frame=frame)
    for part in predictions.values():
        part[PROBABILITIES] = expit(3 * log_odds(part[PROBABILITIES].to_numpy()))
    table, _ = calibration(samples(frame, predictions, **SAMPLING | {"replicates": 0}))
    by = table[table["unit"] == "slice"].set_index(["measure", "class", "method"])["value"]
    for name in CLASSES:
        assert by["slope", name, "none"] == pytest.approx(
            by["slope", name, "temperature"] / by["temperature", name, "temperature"]
        )
        assert by["log_loss", name, "temperature"] < by["log_loss", name, "none"]
        assert by["ece", name, "isotonic"] < 0.05 < by["ece", name, "none"]


# ---- bins


def test_bins_are_scikit_learns_quantiles():
    random = np.random.default_rng(3)
    probabilities = random.random(1000)
    labels = random.random(1000) < probabilities
    place = quantile_bins(probabilities, 10)
    assert np.bincount(place).tolist() == [100] * 10
    observed, predicted = calibration_curve(labels, probabilities, n_bins=10, strategy="quantile")
    by_bin = pd.DataFrame({"place": place, "label": labels, "probability": probabilities}).groupby("place").mean()
    np.testing.assert_allclose(by_bin["probability"], predicted, atol=2e-3)
    np.testing.assert_allclose(by_bin["label"], observed, atol=0.011)


def test_equal_probabilities_share_a_bin():
    probabilities = np.r_[np.zeros(700), np.full(50, 0.2), np.linspace(0.3, 0.9, 250)]
    place = quantile_bins(probabilities, 10)
    assert len(set(place[:700])) == 1
    assert len(set(place[700:750])) == 1
    assert set(place) == set(range(place.max() + 1))
    assert (np.diff(place[np.argsort(probabilities)]) >= 0).all()


@pytest.mark.parametrize(("units", "bins"), [(1, 1), (19, 1), (35, 3), (1000, 10)])
def test_few_units_have_few_bins(units, bins):
    assert quantile_bins(np.arange(units) / units, 10).max() + 1 == bins


# ---- tables


def test_tables_have_a_row_for_everything(found):
    table, bins = found
    assert list(table.columns) == CALIBRATION_COLUMNS
    assert list(bins.columns) == RELIABILITY_COLUMNS
    by_method = table.groupby(["unit", "class", "method"])["measure"].agg(list)
    common = ["brier", "log_loss", "ece", "slope", "intercept"]
    for unit in ("slice", "scan"):
        for name in CLASSES:
            assert by_method[unit, name, "none"] == by_method[unit, name, "isotonic"] == common
            assert by_method[unit, name, "temperature"] == [*common, "temperature"]
    assert not table.duplicated(["unit", "class", "method", "measure"]).any()
    assert set(bins["method"]) == set(METHODS)


def test_bins_add_up_and_give_the_calibration_error(sampled, found):
    table, bins = found
    errors = table[table["measure"] == "ece"].set_index(["unit", "class", "method"])["value"]
    for (unit, name, method), rows in bins.groupby(["unit", "class", "method"]):
        sample = sampled["test", unit]
        assert rows["n"].sum() == len(sample)
        assert rows["positive"].sum() == sample.rows[name].sum()
        np.testing.assert_allclose(rows["value"], rows["positive"] / rows["n"])
        assert (rows["from"] <= rows["mean_probability"] + 1e-12).all()
        assert (rows["mean_probability"] <= rows["to"] + 1e-12).all()
        assert (rows["from"].to_numpy()[1:] > rows["to"].to_numpy()[:-1]).all()
        gaps = (rows["value"] - rows["mean_probability"]).abs()
        assert errors[unit, name, method] == pytest.approx((gaps * rows["n"]).sum() / rows["n"].sum())


def test_intervals_of_bins_and_error_equal_a_loop_over_replicates(sampled, found):
    table, bins = found
    sample = sampled["test", "slice"]
    labels, probabilities = sample.labels[:, -1], sample.probabilities[:, -1]
    rows = bins.query("unit == 'slice' and `class` == 'any' and method == 'none'")
    shares, errors = [], []
    for weight in sample.weights:
        of_slice = weight[sample.patients]
        sums = []
        for row in rows.itertuples():
            inside = of_slice * ((probabilities >= row[rows.columns.get_loc("from") + 1]) & (probabilities <= row.to))
            sums.append([inside.sum(), (inside * labels).sum(), (inside * probabilities).sum()])
        n, positive, expected = np.transpose(sums)
        shares.append(positive / n)
        errors.append(np.abs(positive - expected).sum() / n.sum())
    np.testing.assert_allclose(rows["lower"], np.percentile(shares, 5, axis=0), rtol=1e-9)
    np.testing.assert_allclose(rows["upper"], np.percentile(shares, 95, axis=0), rtol=1e-9)
    row = table.query("unit == 'slice' and `class` == 'any' and method == 'none' and measure == 'ece'").iloc[0]
    np.testing.assert_allclose([row["lower"], row["upper"]], np.percentile(errors, [5, 95]), rtol=1e-9)


def test_what_cannot_be_fitted_says_why():
    frame = COHORT.copy()
    frame.loc[frame["part"] == "validation", "epidural"] = 0
    frame.loc[frame["part"] == "test", "subdural"] = 0
    table, bins = calibration(judged(frame))
    rows = table[table["unit"] == "slice"].set_index(["class", "method", "measure"]).sort_index()
    for method in ("temperature", "isotonic"):
        none = rows.loc[("epidural", method)]
        assert none["value"].isna().all()
        assert set(none["reason"]) == {"not scaled: all slices of validation have the same label"}
    assert bins.query("unit == 'slice' and `class` == 'epidural'")["method"].unique().tolist() == ["none"]
    assert rows.loc[("epidural", "none"), "value"].notna().all()
    for method in METHODS:
        none = rows.loc[("subdural", method)]
        assert set(none.loc[["slope", "intercept"], "reason"]) == {"no positive slice"}
        assert none.loc[["brier", "log_loss", "ece"], "value"].notna().all()


def test_no_replicates_no_intervals(found):
    bare, bins = calibration(judged(replicates=0))
    assert bare[["lower", "upper"]].isna().all(axis=None)
    assert bins[["lower", "upper"]].isna().all(axis=None)
    np.testing.assert_array_equal(bare["value"], found[0]["value"])
