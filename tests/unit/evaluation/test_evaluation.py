import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from ich.base.classes import CLASSES
from ich.base.errors import InputError
from ich.evaluation.evaluate import CURVE_POINTS, CURVES_SCHEMA, METRICS_COLUMNS
from ich.evaluation.evaluate import evaluate as evaluate_samples
from ich.evaluation.statistics import draw_patients
from ich.evaluation.units import PROBABILITIES, samples
from tests.unit import results

LABELS = list(CLASSES)
SETTINGS = {"threshold": "accuracy", "replicates": 40, "confidence": 0.9, "seed": 1}


def evaluate(cohort, predictions, *, threshold, **sampling):
    """Metrics and curves of cohort and predictions."""
    return evaluate_samples(samples(cohort, predictions, scan="maximum", **sampling), threshold=threshold)


def make(seed=0, patients=(40, 30, 25), prevalence=(0.2, 0.25, 0.25, 0.25, 0.3, 0.5)):
    """A cohort of some patients a part, about 12 slices each, and predictions that are better than chance."""
    generator = np.random.default_rng(seed)
    frames = []
    for part, count in zip(("train", "validation", "test"), patients, strict=True):
        owner = np.repeat(np.arange(count), generator.integers(8, 17, size=count))
        labels = generator.random((len(owner), 6)) < prevalence
        probabilities = 1 / (1 + np.exp(1.5 - 2 * labels - generator.normal(size=labels.shape)))
        frame = pd.DataFrame(labels.astype(np.uint8), columns=LABELS)
        frame = frame.join(pd.DataFrame(probabilities.round(2).astype(np.float32), columns=PROBABILITIES))
        frames.append(frame.assign(part=part, patient_id=[f"{part}{number}" for number in owner]))
    whole = pd.concat(frames, ignore_index=True)
    whole["image_id"] = [f"ID_{number:09x}" for number in generator.permutation(len(whole))]
    whole["series_instance_uid"] = whole["patient_id"] + "." + (whole.groupby("patient_id").cumcount() // 9).astype(str)
    cohort = whole[["image_id", "patient_id", "series_instance_uid", "part", *LABELS]]
    predictions = {
        part: whole.loc[whole["part"] == part, ["image_id", *PROBABILITIES]] for part in ("validation", "test")
    }
    return cohort, predictions


def table(*arguments, unit="slice", **settings):
    """Metrics by part, class and metric."""
    metrics = evaluate(*arguments, **SETTINGS | settings)[0]
    return metrics[metrics["unit"] == unit].set_index(["part", "class", "metric"]).sort_index()


def without(cohort, part, name, keep=0):
    """The cohort with all positive slices of a class in a part made negative but those of some patients."""
    inside = cohort["part"] == part
    kept = cohort.loc[inside, "patient_id"].unique()[:keep]
    return cohort.assign(**{name: cohort[name].mask(inside & ~cohort["patient_id"].isin(kept), 0)})


def by_copying(cohort, predictions, part, seed, replicates, metric):
    """Bootstrap as a loop that copies the slices of each drawn patient."""
    joined = cohort[cohort["part"] == part].merge(predictions[part], on="image_id").sort_values("image_id")
    slices = [group for _, group in joined.groupby("patient_id")]
    drawn = [
        pd.concat([slices[number] for number in np.repeat(np.arange(len(slices)), weight.astype(int))])
        for weight in draw_patients(len(slices), replicates, seed)
    ]
    return np.array(
        [[metric(each[name], each[f"probability_{name}"].astype(float)) for name in CLASSES] for each in drawn]
    )


@pytest.fixture(scope="module")
def made():
    return make()


@pytest.fixture(scope="module")
def found(made):
    return table(*made)


def test_each_metric_has_its_rows(made, found):
    metrics = evaluate(*made, **SETTINGS)[0]
    assert list(metrics.columns) == METRICS_COLUMNS
    by_metric = {
        metric: list(rows["class"])
        for metric, rows in metrics.query("part == 'test' and unit == 'slice'").groupby("metric")
    }
    ranked = [*CLASSES, "mean"]
    weighted = [*ranked, "kaggle"]
    assert by_metric == {
        "threshold": [*CLASSES],
        "accuracy": ranked,
        "log_loss": weighted,
        "brier": ranked,
        "roc_auc": ranked,
        "average_precision": ranked,
        "pr_auc_trapezoid": ranked,
        "always_negative_accuracy": ranked,
        "prior_log_loss": weighted,
    }
    assert (found["reason"] == "").all()
    assert found["value"].notna().all()


def test_values_equal_scikit_learn(made, found):
    cohort, predictions = made
    train = cohort[cohort["part"] == "train"]
    for part in ("validation", "test"):
        joined = cohort[cohort["part"] == part].merge(predictions[part], on="image_id")
        for name in CLASSES:
            labels, probabilities = joined[name], joined[f"probability_{name}"].astype(float)
            rows = found.loc[part, name]
            threshold = found.loc[("validation", name, "threshold"), "value"]
            prior = np.full(len(labels), train[name].mean())
            expected = {
                "threshold": threshold,
                "accuracy": ((probabilities >= threshold) == labels).mean(),
                "log_loss": log_loss(labels, probabilities),
                "brier": brier_score_loss(labels, probabilities),
                "roc_auc": roc_auc_score(labels, probabilities),
                "average_precision": average_precision_score(labels, probabilities),
                "always_negative_accuracy": 1 - labels.mean(),
                "prior_log_loss": log_loss(labels, prior),
            }
            assert rows["value"].drop("pr_auc_trapezoid").to_dict() == pytest.approx(expected, rel=1e-12)
            assert set(rows["n"]) == {len(joined)}
            assert set(rows["positive"]) == {labels.sum()}


def test_the_threshold_is_the_best_on_validation(made, found):
    cohort, predictions = made
    joined = cohort.merge(predictions["validation"], on="image_id")
    for name in CLASSES:
        probabilities = joined[f"probability_{name}"].astype(float)
        best = max(((probabilities >= threshold) == joined[name]).mean() for threshold in [*probabilities, np.inf])
        assert found.loc[("validation", name, "accuracy"), "value"] == pytest.approx(best, rel=1e-12)
    assert (found.loc[("test", "any", "threshold")] == found.loc[("validation", "any", "threshold")])["value"]


def test_scans_are_judged_as_slices_are(made):
    cohort, predictions = made
    found = table(*made, unit="scan")
    series = cohort.groupby(["part", "series_instance_uid"])[LABELS].max()
    scores = {
        part: cohort.merge(frame, on="image_id").groupby("series_instance_uid")[PROBABILITIES].max().astype(float)
        for part, frame in predictions.items()
    }
    for name in CLASSES:
        labels, score = series.loc["test"][name], scores["test"][f"probability_{name}"]
        rows = found.loc["test", name]
        tried = [*scores["validation"][f"probability_{name}"], np.inf]
        right = [
            ((scores["validation"][f"probability_{name}"] >= cut) == series.loc["validation"][name]).mean()
            for cut in tried
        ]
        assert found.loc[("validation", name, "accuracy"), "value"] == pytest.approx(max(right), rel=1e-12)
        assert rows["value"]["accuracy"] == pytest.approx(((score >= rows["value"]["threshold"]) == labels).mean())
        if 0 < labels.sum() < len(labels):
            assert rows["value"]["roc_auc"] == pytest.approx(roc_auc_score(labels, score), rel=1e-12)
        prior = np.full(len(labels), series.loc["train"][name].mean())
        assert rows["value"]["prior_log_loss"] == pytest.approx(log_loss(labels, prior, labels=[0, 1]), rel=1e-12)
        assert set(rows["n"]) == {len(labels)}
        assert set(rows["positive"]) == {labels.sum()}


def test_mean_and_kaggle_weighting(found):
    losses = found.loc["test"].xs("log_loss", level="metric")["value"]
    assert losses["mean"] == pytest.approx(losses[LABELS].mean(), rel=1e-12)
    assert losses["kaggle"] == pytest.approx((losses[LABELS].sum() + losses["any"]) / 7, rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "function"),
    [("log_loss", log_loss), ("roc_auc", roc_auc_score), ("average_precision", average_precision_score)],
)
def test_intervals_equal_a_loop_that_copies_patients(made, found, metric, function):
    replicates = by_copying(*made, "test", SETTINGS["seed"], SETTINGS["replicates"], function)
    columns = {**dict(zip(CLASSES, replicates.T, strict=True)), "mean": replicates.mean(axis=1)}
    if metric == "log_loss":
        columns["kaggle"] = (replicates.sum(axis=1) + replicates[:, -1]) / 7
    for name, values in columns.items():
        row = found.loc[("test", name, metric)]
        np.testing.assert_allclose([row["lower"], row["upper"]], np.percentile(values, [5, 95]), rtol=1e-9)


def test_the_order_of_rows_does_not_matter(made):
    cohort, predictions = made
    shuffled = {part: frame.sample(frac=1, random_state=5) for part, frame in predictions.items()}
    expected = evaluate(cohort, predictions, **SETTINGS)
    for one, other in zip(expected, evaluate(cohort.sample(frac=1, random_state=6), shuffled, **SETTINGS), strict=True):
        assert_frame_equal(one, other, check_exact=True)


def test_a_number_as_threshold_needs_no_validation(made):
    cohort, predictions = made
    found = table(cohort, {"test": predictions["test"]}, threshold=0.5)
    assert (found.xs("threshold", level="metric")["value"] == 0.5).all()
    joined = cohort.merge(predictions["test"], on="image_id")
    expected = ((joined["probability_any"] >= 0.5) == joined["any"]).mean()
    assert found.loc[("test", "any", "accuracy"), "value"] == pytest.approx(expected, rel=1e-12)


def test_no_replicates_no_intervals(made, found):
    bare = table(*made, replicates=0)
    assert bare[["lower", "upper"]].isna().all(axis=None)
    assert_frame_equal(bare.drop(columns=["lower", "upper"]), found.drop(columns=["lower", "upper"]))


def test_a_class_without_positive_slices_has_empty_cells_with_a_reason(made, found):
    cohort, predictions = made
    cohort = without(cohort, "test", "epidural")
    metrics, curves = evaluate(cohort, predictions, **SETTINGS)
    test = metrics[metrics["unit"] == "slice"].set_index(["part", "class", "metric"]).loc["test"]
    for metric in ("roc_auc", "average_precision", "pr_auc_trapezoid"):
        assert test.loc[("epidural", metric), ["value", "lower", "upper"]].isna().all()
        assert test.loc[("epidural", metric), "reason"] == "no positive slice"
        assert test.loc[("mean", metric), ["value", "lower", "upper"]].isna().all()
        assert test.loc[("mean", metric), "reason"] == "no value for epidural"
        assert test.loc[("subdural", metric), "value"] == found.loc[("test", "subdural", metric), "value"]
    for metric in ("accuracy", "log_loss", "brier"):
        assert test.loc[("epidural", metric), ["value", "lower", "upper"]].notna().all()
    assert test.loc[("kaggle", "log_loss"), "value"] > 0
    drawn = {(part, name) for part, name in curves[["part", "class"]].itertuples(index=False)}
    assert drawn == {(part, name) for part in predictions for name in CLASSES} - {("test", "epidural")}


@pytest.mark.parametrize("rule", ["accuracy", "youden"])
def test_no_threshold_without_positive_slices_in_validation(made, rule):
    cohort, predictions = made
    found = table(without(cohort, "validation", "epidural"), predictions, threshold=rule)
    reason = "no threshold: all slices of validation have the same label"
    for part in ("validation", "test"):
        for metric in ("threshold", "accuracy"):
            assert np.isnan(found.loc[(part, "epidural", metric), "value"])
            assert found.loc[(part, "epidural", metric), "reason"] == reason
    assert found.loc[("test", "epidural", "roc_auc"), "value"] > 0.5
    assert found.loc[("test", "mean", "accuracy"), "reason"] == "no value for epidural"


def test_replicates_that_lack_a_label_are_counted(made):
    cohort, predictions = made
    cohort = without(cohort, "test", "epidural", keep=1)
    found = table(cohort, predictions, replicates=200)
    patients = sorted(cohort.loc[cohort["part"] == "test", "patient_id"].unique())
    holder = cohort.loc[(cohort["part"] == "test") & (cohort["epidural"] == 1), "patient_id"].unique()
    assert len(holder) == 1
    drawn = draw_patients(len(patients), 200, SETTINGS["seed"])[:, patients.index(holder[0])]
    used = np.count_nonzero(drawn)
    assert 0 < used < 200
    reason = f"interval from {used} of 200 replicates: the others lack a value"
    for name in ("epidural", "mean"):
        row = found.loc[("test", name, "roc_auc")]
        assert row["reason"] == reason
        assert row["lower"] <= row["value"] <= row["upper"]
    assert found.loc[("test", "epidural", "log_loss"), "reason"] == ""


def test_one_patient_gives_no_interval():
    found = table(*make(patients=(5, 5, 1))).loc["test"].drop("threshold", level="metric")
    assert found["value"].notna().all()
    assert found[["lower", "upper"]].isna().all(axis=None)
    assert set(found["reason"]) == {"no interval: all slices are of one patient"}


def test_one_scan_has_no_ranking_and_no_interval():
    frame, predictions = make(patients=(5, 5, 1))
    frame["series_instance_uid"] = frame["patient_id"]
    found = table(frame, predictions, unit="scan").loc["test"]
    assert found["value"].xs("roc_auc", level="metric").isna().all()
    assert set(found["reason"].xs("brier", level="metric")) == {"no interval: all scans are of one patient"}


def test_curves_start_and_end_where_they_must():
    cohort, predictions = make(patients=(5, 400, 50))
    predictions["validation"][PROBABILITIES] += np.random.default_rng(0).uniform(
        0, 1e-3, size=(len(predictions["validation"]), 6)
    )
    predictions["validation"][PROBABILITIES] = predictions["validation"][PROBABILITIES].clip(0, 1)
    curves = evaluate(cohort, predictions, **SETTINGS)[1]
    assert pa.Table.from_pandas(curves, schema=CURVES_SCHEMA, preserve_index=False).num_rows == len(curves)
    assert curves.groupby(["part", "unit", "class", "curve"]).size().max() == CURVE_POINTS
    for (_, _, _, kind), curve in curves.groupby(["part", "unit", "class", "curve"]):
        assert curve["x"].is_monotonic_increasing
        assert curve["threshold"].is_monotonic_decreasing
        assert curve["threshold"].iloc[0] == np.inf
        first, last = curve[["x", "y"]].iloc[[0, -1]].to_numpy()
        assert first.tolist() == ([0, 0] if kind == "roc" else [0, 1])
        assert last[0] == 1
    roc = curves.query("part == 'validation' and unit == 'slice' and `class` == 'any' and curve == 'roc'")
    joined = cohort.merge(predictions["validation"], on="image_id")
    area = np.trapezoid(roc["y"], roc["x"])
    assert area == pytest.approx(roc_auc_score(joined["any"], joined["probability_any"]), abs=1e-4)


def test_slices_in_quarantine_may_lack_a_prediction(made):
    cohort, predictions = made
    lost = set(predictions["test"]["image_id"].iloc[:7])
    left = predictions | {"test": predictions["test"].iloc[7:]}
    found = table(cohort, left, quarantined=lost)
    assert_frame_equal(found, table(cohort[~cohort["image_id"].isin(lost)], left))
    scans = table(cohort, left, quarantined=lost, unit="scan")
    assert set(scans.loc["test", "n"]) == {cohort[cohort["part"] == "test"]["series_instance_uid"].nunique()}
    assert set(found.loc["test", "n"]) == {len(predictions["test"]) - 7}


@pytest.mark.parametrize(("count", "more"), [(1, ""), (7, " and 2 more")])
def test_unpredicted_slices_are_an_error_that_names_some(made, count, more):
    cohort, predictions = made
    lost = sorted(predictions["test"]["image_id"].iloc[:count])
    left = predictions | {"test": predictions["test"].iloc[count:]}
    message = (
        f"of test: slices with neither .* quarantine: {', '.join(lost[:5])}{more}; make this experiment's predictions"
    )
    with pytest.raises(InputError, match=message):
        evaluate(cohort, left, **SETTINGS)


def test_a_slice_predicted_twice_is_an_error_that_names_it(made):
    cohort, predictions = made
    twice = pd.concat([predictions["test"], predictions["test"].iloc[[4]]])
    with pytest.raises(InputError, match=f"more than once: {predictions['test']['image_id'].iloc[4]}"):
        evaluate(cohort, predictions | {"test": twice}, **SETTINGS)


def test_a_slice_of_another_part_is_an_error_that_names_it(made):
    cohort, predictions = made
    mixed = pd.concat([predictions["test"], predictions["validation"].iloc[[0]]])
    with pytest.raises(
        InputError, match=f"not in this part of the cohort: {predictions['validation']['image_id'].iloc[0]}"
    ):
        evaluate(cohort, predictions | {"test": mixed}, **SETTINGS)


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.5])
def test_what_is_no_probability_is_an_error_that_names_the_slice(made, value):
    cohort, predictions = made
    broken = predictions["validation"].copy()
    broken.iloc[2, broken.columns.get_loc("probability_any")] = value
    message = f"of validation: slices with .* between 0 and 1: {broken['image_id'].iloc[2]}; see in history.csv"
    with pytest.raises(InputError, match=message):
        evaluate(cohort, predictions | {"validation": broken}, **SETTINGS)


def test_a_part_without_any_prediction_is_an_error(made):
    cohort, predictions = made
    nothing = predictions | {"test": predictions["test"].iloc[:0]}
    with pytest.raises(InputError, match="no slice is left to judge"):
        evaluate(cohort, nothing, **SETTINGS, quarantined=set(predictions["test"]["image_id"]))


def test_a_perfect_ranking_has_an_interval_without_width_and_says_so():
    frame = results.cohort()
    predictions = results.predicted(frame=frame)
    truth = predictions["test"].merge(frame, on="image_id")["any"]
    predictions["test"]["probability_any"] = 0.1 + 0.8 * truth.to_numpy()
    sampling = {"scan": "maximum", "replicates": 50, "confidence": 0.95, "seed": 1}
    table, _ = evaluate_samples(samples(frame, predictions, **sampling), threshold="accuracy")
    rows = table.query("part == 'test' and unit == 'slice' and `class` == 'any' and metric == 'roc_auc'")
    assert rows[["value", "lower", "upper"]].eq(1).all(axis=None)
    assert rows["reason"].str.endswith("no replicate varies: an interval without width is too narrow").all()
