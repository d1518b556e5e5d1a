import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from ich.evaluation import metrics

FOUR = (np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
TIED = (np.array([1, 0, 1, 0]), np.array([0.5, 0.5, 0.9, 0.1]))

# Few values, so that most examples have ties.
scored = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0])), min_size=1, max_size=40
)
rules = st.sampled_from(["accuracy", "youden"])


def columns(pairs):
    labels, probabilities = zip(*pairs, strict=True)
    return np.array(labels, dtype=np.uint8), np.array(probabilities)


def curve_distance(x, y, kept):
    """Distance of each point to the nearest of the lines between kept points."""
    points = np.column_stack([x, y])
    nearest = np.full(len(x), np.inf)
    for start, end in pairwise(points[kept]):
        share = np.clip((points - start) @ (end - start) / np.sum((end - start) ** 2), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(points - start - share[:, None] * (end - start), axis=1))
    return nearest


def test_a_slice_at_the_threshold_is_called_positive():
    labels, probabilities = np.array([1, 1, 0, 0]), np.array([0.5, 0.4, 0.5, 0.4])
    assert metrics.correct(labels, probabilities, 0.5).tolist() == [1, 0, 0, 1]


def test_infinity_calls_nothing_positive_and_no_threshold_gives_nothing():
    labels, probabilities = np.array([[1, 0], [0, 1]]), np.array([[1.0, 0.2], [1.0, 0.9]])
    right = metrics.correct(labels, probabilities, np.array([np.inf, np.nan]))
    np.testing.assert_array_equal(right, [[0, np.nan], [1, np.nan]])


def test_log_loss_by_hand():
    losses = metrics.log_losses(np.array([1, 0, 1]), np.array([0.8, 0.3, 0.5]))
    np.testing.assert_allclose(losses, [0.22314355131, 0.35667494394, 0.69314718056], atol=1e-11)


def test_certainty_costs_what_the_challenge_let_it_cost():
    losses = metrics.log_losses(np.array([0, 1, 0, 1]), np.array([1, 0, 0, 1], dtype=np.float32))
    np.testing.assert_allclose(losses, [34.538776394910684, 34.538776394910684, 0, 0], atol=2e-15)


@given(scored)
def test_log_loss_and_brier_score_agree_with_scikit_learn(pairs):
    labels, probabilities = columns(pairs)
    inside = np.clip(probabilities, 0.01, 0.99)
    expected = reference.log_loss(labels, inside, labels=[0, 1])
    assert metrics.log_losses(labels, inside).mean() == pytest.approx(expected, rel=1e-12)
    expected = reference.brier_score_loss(labels, probabilities, labels=[0, 1])
    assert metrics.squared_errors(labels, probabilities).mean() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.010, 0.077, 0.062, 0.111, 0.120, 0.176], 0.1046),  # the paper's ResNet18
        ([0.016, 0.054, 0.034, 0.081, 0.096, 0.123], 0.0753),  # and DenseNet121
        ([0.7, 0, 0, 0, 0, 0], 0.1),
        ([0, 0, 0, 0, 0, 0.7], 0.2),
    ],
)
def test_the_challenge_counts_any_twice(losses, expected):
    assert metrics.kaggle_log_loss(np.array(losses)) == pytest.approx(expected, abs=5e-5)


def test_baselines_of_the_paper():
    """The published test set in 10,000 slices: each class with its prevalence, to four digits."""
    positive = np.array([38, 479, 371, 481, 645, 1461])
    labels = (np.arange(10_000)[:, None] < positive).astype(np.uint8)
    always_negative = metrics.correct(labels, np.ones_like(labels), np.inf).mean(axis=0)
    np.testing.assert_allclose(always_negative, [0.9962, 0.9521, 0.9629, 0.9519, 0.9355, 0.8539])
    prior_only = metrics.log_losses(labels, positive / 10_000).mean(axis=0)
    np.testing.assert_allclose(prior_only, [0.0250, 0.1923, 0.1586, 0.1929, 0.2392, 0.4159], atol=5e-5)
    assert metrics.kaggle_log_loss(prior_only) == pytest.approx(0.2342, abs=5e-5)


@pytest.mark.parametrize(
    ("example", "roc_auc", "average_precision", "trapezoid"),
    [(FOUR, 3 / 4, 5 / 6, 19 / 24), (TIED, 7 / 8, 5 / 6, 11 / 12)],
)
def test_ranking_by_hand(example, roc_auc, average_precision, trapezoid):
    assert metrics.roc_auc(*example) == pytest.approx(roc_auc, rel=1e-12)
    assert metrics.average_precision(*example) == pytest.approx(average_precision, rel=1e-12)
    assert metrics.pr_auc_trapezoid(*example) == pytest.approx(trapezoid, rel=1e-12)


def test_the_papers_area_is_optimistic_where_all_slices_are_tied():
    labels, probabilities = np.arange(10) == 0, np.full(10, 0.3)
    assert metrics.average_precision(labels, probabilities) == pytest.approx(0.1)
    assert metrics.pr_auc_trapezoid(labels, probabilities) == pytest.approx(0.55)


@pytest.mark.parametrize(("label", "missing"), [(0, "positive"), (1, "negative")])
def test_a_class_with_one_label_has_no_ranking_and_no_threshold(label, missing):
    labels, probabilities = np.full(3, label), np.array([0.1, 0.2, 0.3])
    assert metrics.missing_label(labels) == missing
    assert math.isnan(metrics.roc_auc(labels, probabilities))
    assert math.isnan(metrics.average_precision(labels, probabilities))
    assert math.isnan(metrics.pr_auc_trapezoid(labels, probabilities))
    assert math.isnan(metrics.choose_threshold(labels, probabilities, "accuracy"))
    assert math.isnan(metrics.choose_threshold(labels, probabilities, "youden"))


@given(scored, rules)
def test_no_threshold_is_better_and_the_highest_is_taken(pairs, rule):
    labels, probabilities = columns(pairs)
    if len(set(labels)) == 1:
        return

    def gain(threshold):
        called = probabilities >= threshold
        hits, alarms = int(called[labels == 1].sum()), int(called[labels == 0].sum())
        # Accuracy and Youden's index, times what makes them whole numbers.
        return hits - alarms if rule == "accuracy" else hits * int((labels == 0).sum()) - alarms * int(labels.sum())

    best = max([*probabilities, math.inf], key=lambda threshold: (gain(threshold), threshold))
    assert metrics.choose_threshold(labels, probabilities, rule) == best


@given(scored, st.sampled_from(["sensitivity", "specificity"]))
def test_a_rate_of_at_least_95_percent_is_kept_and_the_other_is_the_highest(pairs, kept):
    labels, probabilities = columns(pairs)
    if len(set(labels)) == 1:
        return

    def rates(threshold):
        called = probabilities >= threshold
        sensitivity = Fraction(int(called[labels == 1].sum()), int(labels.sum()))
        specificity = Fraction(int((~called)[labels == 0].sum()), int((labels == 0).sum()))
        return (sensitivity, specificity) if kept == "sensitivity" else (specificity, sensitivity)

    enough = [each for each in (*probabilities, math.inf) if rates(each)[0] >= Fraction(95, 100)]
    best = max(enough, key=lambda threshold: (rates(threshold)[1], threshold))
    assert metrics.choose_threshold(labels, probabilities, f"{kept}_95") == best


def test_exactly_95_percent_is_enough():
    labels = np.repeat([1, 0], [20, 20])
    probabilities = np.r_[np.arange(20) + 0.5, np.arange(20)] / 20
    assert metrics.choose_threshold(labels, probabilities, "sensitivity_95") == 1.5 / 20  # 19 of 20
    assert metrics.choose_threshold(labels, probabilities, "specificity_95") == 18.5 / 20


def test_thresholds_by_hand():
    labels = np.array([1, 0, 1, 0, 0, 0])
    probabilities = np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1])
    assert metrics.choose_threshold(labels, probabilities, "accuracy") == 0.9  # 0.7 has as many right
    assert metrics.choose_threshold(labels, probabilities, "youden") == 0.7
    assert metrics.choose_threshold(labels, 1 - probabilities, "accuracy") == math.inf
    assert metrics.choose_threshold(labels, probabilities, 0.4) == 0.4


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="write accuracy, youden, sensitivity_95, specificity_95 or a number"):
        metrics.choose_threshold(*FOUR, "f1")


def test_points_of_the_curves_by_hand():
    x, y, threshold = metrics.roc_points(*TIED)
    np.testing.assert_allclose([x, y], [[0, 0, 0.5, 1], [0, 0.5, 1, 1]])
    np.testing.assert_array_equal(threshold, [np.inf, 0.9, 0.5, 0.1])
    x, y, threshold = metrics.pr_points(*TIED)
    np.testing.assert_allclose([x, y], [[0, 0.5, 1, 1], [1, 1, 2 / 3, 0.5]])
    np.testing.assert_array_equal(threshold, [np.inf, 0.9, 0.5, 0.1])


def test_thinning_keeps_the_corners_and_nothing_on_straight_lines():
    corners = np.array([[0, 0], [0, 0.5], [0.25, 0.5], [0.25, 0.75], [1, 1]])
    x, y = np.concatenate([np.linspace(a, b, 50, endpoint=False) for a, b in pairwise(corners)] + [corners[-1:]]).T
    np.testing.assert_array_equal(np.column_stack([x, y])[metrics.thin(x, y, 1000)], corners)
    assert metrics.thin(x, y, 2).tolist() == [0, 200]


def test_a_thinned_curve_looks_like_the_whole():
    generator = np.random.default_rng(0)
    labels = generator.random(60_000) < 0.15
    probabilities = 1 / (1 + np.exp(3 - 2 * labels - generator.normal(size=len(labels))))
    for points in (metrics.roc_points, metrics.pr_points):
        x, y, _ = points(labels, probabilities)
        kept = metrics.thin(x, y, 1000)
        assert len(kept) == 1000 < len(x)
        assert [kept[0], kept[-1]] == [0, len(x) - 1]
        assert curve_distance(x, y, kept).max() < 0.001  # half a pixel of a figure 500 pixels wide
