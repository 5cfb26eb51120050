"""Intervals that hold what they promise, fronts, equal cost, the index: bench/statistics.py."""

import numpy as np
import pytest

from bench.statistics import (
    CERTAIN,
    Resamples,
    SliderCurve,
    attained,
    binomial_interval,
    difference,
    disruption,
    lost,
    monotone,
    standings,
)


def points(*pairs, spread=0.0):
    """Estimates of the pairs' values, each of 200 prompts scattered by `spread`."""
    resamples, rng = Resamples(200), np.random.default_rng(1)

    def one(value):
        noise = rng.normal(0, spread, 200) if spread else np.zeros(200)
        return resamples.mean(value + noise - noise.mean())

    return [(one(a), one(b)) for a, b in pairs]


@pytest.mark.parametrize(("chance", "prompts"), [(0.5, 300), (0.1, 300), (0.02, 300), (0.8, 60)])
def test_the_interval_of_a_share_holds_the_truth_as_often_as_it_says(chance, prompts):
    resamples, rng = Resamples(prompts, repetitions=600), np.random.default_rng(2)
    held = [
        found.low <= chance <= found.high
        for found in (resamples.share(rng.uniform(size=prompts) < chance) for _ in range(400))
    ]
    assert 0.90 <= np.mean(held) <= 0.99


def test_a_mean_has_the_interval_of_the_normal_approximation():
    values = np.random.default_rng(3).normal(5, 2, 400)
    found = Resamples(400).mean(values)
    reach = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - reach, abs=0.04)
    assert found.high == pytest.approx(values.mean() + reach, abs=0.04)


def test_nothing_seen_in_n_prompts_is_not_nothing_for_sure():
    none, every = (Resamples(100).share(np.full(100, flag)) for flag in (False, True))
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(0.0362, abs=1e-4)  # (1 - p) ** 100 = .025
    assert (every.low, every.high) == (1 - none.high, 1)


def test_prompts_without_a_value_and_those_left_out_do_not_count():
    resamples = Resamples(4)
    assert resamples.mean([1.0, None, 3.0, float("nan")]).value == 2.0
    kept = resamples.share([True, False, None, True], keep=np.array([True, True, True, False]))
    assert (kept.value, kept.count) == (0.5, 2)
    nobody = resamples.mean([None] * 4)
    assert nobody.count == 0 and np.isnan(nobody.value)


def test_a_paired_difference_is_surer_than_two_intervals():
    rng = np.random.default_rng(4)
    luck = rng.normal(size=300)
    resamples = Resamples(300)
    worse, better = resamples.mean(luck + 0.1 + rng.normal(0, 0.02, 300)), resamples.mean(luck)
    assert worse.low < better.high  # apart they can't be told
    apart = difference(worse, better)
    assert apart.value == pytest.approx(0.1, abs=0.01) and apart.low > 0.08


def test_intervals_are_the_same_every_time():
    values = np.random.default_rng(6).normal(size=50)
    assert Resamples(50).mean(values) == Resamples(50).mean(values)
    assert Resamples(50).mean(values) != Resamples(50, seed=1).mean(values)


def test_the_front_is_what_nothing_dominates():
    found = standings(points((0, 3), (1, 1), (3, 0), (2, 2), (1, 3), (1, 1)))
    assert [not place.by for place in found] == [True, True, True, False, False, True]
    assert set(found[3].by) == {1, 5} and set(found[4].by) == {0, 1, 5}
    assert found[3].support[0] >= CERTAIN and found[0].on_front == 1.0


def test_a_domination_within_the_noise_is_not_a_sure_one():
    near = standings(points((0.5, 0.5), (0.501, 0.501), spread=0.3))
    assert near[1].by and near[1].support[0] < CERTAIN
    assert 0 < near[0].on_front < 1
    far = standings(points((0.5, 0.5), (0.9, 0.9), spread=0.3))
    assert far[1].support[0] >= CERTAIN and far[1].on_front == 0.0


def test_what_is_lost_is_the_rest_of_what_is_kept():
    kept = Resamples(40).share(np.arange(40) < 30)
    gone = lost(kept)
    assert (gone.value, gone.low, gone.high) == (0.25, 1 - kept.high, 1 - kept.low)


def test_attained_is_linear_between_the_steps():
    cost, result = np.array([[0.0, 1.0, 2.0]]), np.array([[10.0, 6.0, 0.0]])
    for budget, expected in [(0, 10), (0.5, 8), (1, 6), (1.5, 3), (2, 0), (9, 0)]:
        assert attained(cost, result, np.array([float(budget)]))[0] == pytest.approx(expected)
    assert np.isnan(attained(cost, result, np.array([-1.0]))[0])


def test_monotone_is_the_isotonic_regression():
    found = monotone(np.array([[1.0, 3.0, 2.0, 4.0], [4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]]))
    np.testing.assert_allclose(found, [[1, 2.5, 2.5, 4], [2.5] * 4, [1, 2, 3, 4]])


def test_at_equal_cost_the_better_of_two_is_ahead():
    slider = points((0, 0.8), (0.1, 0.4), (0.2, 0.1))
    reached, apart = SliderCurve(slider).against(points((0.05, 0.5))[0])
    assert reached.value == pytest.approx(0.6) and apart.value == pytest.approx(-0.1)
    assert apart.high < 0
    assert SliderCurve(slider).against(points((0.15, 0.5))[0])[1].low > 0
    # Beyond its end the slider stands for itself.
    assert SliderCurve(slider).against(points((0.9, 0.1))[0])[0].value == pytest.approx(0.1)


def test_one_lucky_step_does_not_speak_for_the_slider():
    slider = points((0, 0.8), (0.2, 0.4), (0.02, 0.3), (0.3, 0.1))
    reached, _ = SliderCurve(slider).against(points((0.05, 0.5))[0])
    assert reached.value > 0.5  # though the third step left .3 at a cost of .02


def test_a_binomial_interval_has_no_open_end_inside_and_holds_the_share():
    assert binomial_interval(0, 100)[0] == 0 and binomial_interval(100, 100)[1] == 1
    low, high = binomial_interval(30, 100)
    assert 0.2 < low < 0.3 < high < 0.41


def test_the_index_is_0_for_what_is_untouched_and_1_for_what_is_redrawn():
    resamples, closeness = Resamples(30), np.linspace(0.1, 0.4, 30)
    assert disruption([(resamples, closeness, np.zeros(30))], redrawn=0.5).value == 0
    assert disruption([(resamples, closeness, np.full(30, 0.5))], redrawn=0.5).value == 1
    further = disruption([(resamples, closeness, np.full(30, 2.0))], redrawn=0.5)
    assert (further.value, further.low, further.high) == (1, 1, 1)


def test_the_index_counts_what_is_closer_to_the_concepts_more():
    closeness, resamples = np.array([0.9, 0.1]), Resamples(2)
    near = disruption([(resamples, closeness, np.array([0.5, 0.0]))], redrawn=0.5)
    far = disruption([(resamples, closeness, np.array([0.0, 0.5]))], redrawn=0.5)
    assert (near.value, far.value) == (pytest.approx(0.9), pytest.approx(0.1))


def test_the_index_over_two_sets_is_that_of_all_their_prompts():
    rng = np.random.default_rng(5)
    closeness, distance = rng.uniform(size=(2, 50))
    parts = [(Resamples(20), closeness[:20], distance[:20]), (Resamples(30), closeness[20:], distance[20:])]
    expected = (closeness * np.minimum(distance / 0.4, 1)).sum() / closeness.sum()
    found = disruption(parts, redrawn=0.4)
    assert found.value == pytest.approx(expected) and found.low < expected < found.high


def test_an_index_without_a_scale_is_an_error():
    with pytest.raises(ValueError, match="redrawn: expected a distance above 0 .*, got 0"):
        disruption([(Resamples(3), np.zeros(3), np.zeros(3))], redrawn=0)
