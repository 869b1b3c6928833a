"""Aggregates against the numbers of rliable and by hand, policies as what replicates, pairs and rivals."""

from __future__ import annotations

import numpy as np
import pytest
from comparisons import table
from scipy import stats

from lambda_rl.agents.comparison.evidence import (
    Evidence,
    conditional_value_at_risk,
    costs,
    iqm_interval,
    pays_from,
    performance_profile,
    probability_interval,
    profile_band,
    replicated,
    seed_groups,
    share_hurt,
    weigh,
)
from lambda_rl.agents.comparison.results import ABLATION, HAND_DESIGNED
from lambda_rl.agents.comparison.statistics import interquartile_mean, probability_of_improvement
from lambda_rl.agents.comparison.summary import Plan, summarise
from lambda_rl.agents.comparison.tables import Results
from lambda_rl.agents.comparison.words import headline, questions

# Five runs of six tasks, and what rliable 1.2.0 says of them (20,000 and 5,000 resamples).
OURS = np.array(
    [
        [40.005, 41.195, 38.903, 36.438, 38.181, 36.033], [40.241, 45.361, 38.031, 37.518, 41.959, 41.428],
        [40.422, 36.278, 39.883, 42.781, 34.623, 38.170], [32.395, 34.842, 32.633, 39.060, 34.930, 41.085],
        [40.627, 39.252, 29.933, 37.845, 39.806, 40.453],
    ]
).T  # fmt: skip
THEIRS = np.array(
    [
        [31.879, 36.089, 34.086, 34.765, 42.244, 34.770], [37.870, 41.538, 35.666, 37.553, 38.442, 38.255],
        [33.100, 38.305, 43.435, 31.811, 41.438, 38.477], [35.434, 46.002, 41.049, 33.203, 38.298, 40.307],
        [37.245, 40.732, 37.734, 40.669, 43.754, 35.297],
    ]
).T  # fmt: skip
IQM, IQM_INTERVAL = 38.780375, (37.484, 39.775)
BETTER, BETTER_INTERVAL = 0.5533333, (0.4133, 0.6867)
THRESHOLDS = np.array([34.0, 38.0, 42.0])
PROFILE, BAND = [0.9, 0.6333333, 0.0666667], ([0.8, 0.4667, 0.0], [0.9667, 0.8, 0.1667])


def test_aggregates_are_rliables() -> None:
    rng = np.random.default_rng(0)
    assert interquartile_mean(OURS) == pytest.approx(IQM)
    assert iqm_interval(OURS, rng) == pytest.approx(IQM_INTERVAL, abs=0.1)
    assert probability_of_improvement(OURS, THEIRS) == pytest.approx(BETTER)
    assert probability_interval(OURS, THEIRS, rng) == pytest.approx(BETTER_INTERVAL, abs=0.015)
    assert performance_profile(OURS, THRESHOLDS) == pytest.approx(PROFILE)
    low, high = profile_band(OURS, THRESHOLDS, rng)
    assert low == pytest.approx(BAND[0], abs=0.035)
    assert high == pytest.approx(BAND[1], abs=0.035)


def test_harm_by_hand() -> None:
    differences = np.array([[-3.0, -1.0], [-1.0, -1.0], [0.0, 1.0], [2.0, 2.0], [5.0, 5.0]])
    assert share_hurt(differences) == 0.2  # -2; -1 is not more than a point
    assert share_hurt(differences, 0.5) == 0.4
    assert conditional_value_at_risk(differences) == -2.0
    assert conditional_value_at_risk(differences, 0.3) == pytest.approx((-2.0 - 0.5) / 1.5)
    assert conditional_value_at_risk(differences, 1.0) == pytest.approx(differences.mean())
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        conditional_value_at_risk(differences, 0.0)


def test_what_replicates() -> None:
    names = ["learned:a-seed0", "learned:a-seed1", "learned:b-seed0", "learned:c", "a-seedling"]
    assert seed_groups(names) == {"learned:a": ["learned:a-seed0", "learned:a-seed1"]}
    rng = np.random.default_rng(1)
    differences = rng.normal(size=(4, 3, 6))

    def students(values: np.ndarray) -> tuple[float, float]:
        low, high = stats.ttest_1samp(values, 0.0).confidence_interval()
        return float(low), float(high)

    assert replicated(differences) == pytest.approx(students(differences.mean((1, 2))))
    assert replicated(differences[:1]) == pytest.approx(students(differences[0].mean(1)))
    assert replicated(differences[:1, :1]) == pytest.approx(students(differences[0, 0]))
    assert np.isnan(replicated(differences[:1, :1, :1])).all()


def evidence(test: dict[str, list[list[float]]], inner_runs: dict[str, int] | None = None) -> Evidence:
    results, found = summarise(
        Results(table(test, test)), Plan(["constant:1", "constant:2"], "constant:2", {}, inner_runs or {})
    )
    return weigh(found, results.scores)


def test_policies_of_one_training_are_one_standing_and_rivals_cost_no_more() -> None:
    found = evidence(
        {
            "learned:a-seed0": [[22.0, 24.0], [34.0, 36.0]],
            "learned:a-seed1": [[24.0, 26.0], [32.0, 34.0]],
            "constant:1": [[10.0, 12.0], [40.0, 40.0]],
            "constant:2": [[20.0, 22.0], [30.0, 30.0]],
            "hand-designed:x": [[21.0, 23.0], [31.0, 31.0]],
            "derived:search": [[30.0, 30.0], [40.0, 40.0]],
        },
        {"derived:search": 5},
    )
    assert (found.cells, found.enough) == (4, False)
    (group,) = found.learned
    assert (group.name, group.policies) == ("learned:a", ("learned:a-seed0", "learned:a-seed1"))
    assert group.accuracy == pytest.approx(29.0)
    assert group.tasks == {"a": 24.0, "b": 34.0}
    assert group.against.difference == pytest.approx(3.5)
    assert group.against.interval == pytest.approx((3.5, 3.5))  # both policies' means are 29
    assert group.against.hurt == 0.0
    assert group.against.worst_fifth == pytest.approx(3.0)
    others = [pair.other for pair in found.pairs]
    assert others[0] == "derived:search"
    assert not {"constant:1", "constant:2", "learned:a"} & set(others)
    rival = found.strongest_rival("learned:a")
    assert rival is not None
    assert rival.other == "hand-designed:x"
    assert rival.difference == pytest.approx(29.0 - 26.5)
    assert rival.probability == pytest.approx(
        (3.5 / 4 + 1) / 2
    )  # 23 and 25 against 21 and 23, then 35 and 33
    assert [item.name for item in found.standings][:2] == ["derived:search", "oracle-constant"]


def ablated(shift: float = 0.0) -> Evidence:
    """Two policies over ten seeds, each beside its own trajectory, a law, and a schedule that was searched for."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (2, 2, 10))
    test = {
        "learned:a-seed0": 30 + noise[0], "learned:a-seed1": 35 + noise[1],
        "mean-trajectory:a-seed0": 29 + noise[0], "mean-trajectory:a-seed1": 34 + noise[1],
        "kappa": 31 + noise[0] - shift, "knots": 30.5 + noise[1] - shift,
        "constant:1": 20 + noise[0], "constant:2": 21 + noise[0],
    }  # fmt: skip
    frame = table({name: scores.tolist() for name, scores in test.items()}, test)  # type: ignore[arg-type]
    kinds = {"mean-trajectory": ABLATION, "kappa": HAND_DESIGNED, "knots": HAND_DESIGNED}
    frame["kind"] = frame["kind"].replace(kinds)
    plan = Plan(
        ["constant:1", "constant:2"],
        "constant:2",
        {"knots": 300, "learned:a-seed0": 90, "learned:a-seed1": 90},
    )
    results, found = summarise(Results(frame), plan)
    return weigh(found, results.scores)


def test_a_policy_is_set_against_its_own_ablation_and_that_is_nobodys_rival() -> None:
    found = ablated()
    own = found.of_policy("learned:a", "mean-trajectory")
    assert own is not None
    assert own.interval == pytest.approx(
        (1.0, 1.0)
    )  # each policy against its own: what they differ by is left out
    assert found.of_policy("learned:a", "shuffled") is None
    rival = found.strongest_rival("learned:a")
    assert rival is not None
    assert rival.other == "kappa"  # the trajectory of seed 1 is better, but nobody has it without that policy
    asked = {what: pair.other for what, pair in questions(found.learned[0], found)}
    assert asked == {
        "the strongest rival of no higher cost": "kappa",
        "the best law known before the run": "kappa",
        "the best open-loop schedule of Bayesian optimisation": "knots",
        "its own mean trajectory": "mean-trajectory:a",
    }


def test_the_headline_says_whether_feedback_helps() -> None:
    def said(found: Evidence) -> str:
        summary_of = summarise(
            Results(table({"constant:1": [[1.0]]}, {"constant:1": [[1.0]]})), Plan(["constant:1"])
        )[1]
        return headline(summary_of, found)[0]

    law = "against the best law known before the run (kappa) +1."
    assert f"That feedback helps is not shown: {law}" in said(ablated())
    assert "Feedback helps: against" in said(ablated(shift=50.0))


def test_costs_with_what_was_spent_before_and_when_it_pays() -> None:
    assert pays_from(before=100, a_result=1, other=12) == 10  # 100 + 10 < 120, and 100 + 9 is not below 108
    assert pays_from(before=99, a_result=1, other=12) == 10  # at 9 they cost the same
    assert pays_from(before=0, a_result=1, other=12) == 1
    assert pays_from(before=0, a_result=12, other=12) is None
    found = {item.name: item for item in costs(ablated())}
    assert found["learned:a"].before == 90
    assert found["learned:a"].shared == (91.0, 10.0, 1.9, 1.09, 1.009)
    assert found["learned:a"].pays_from == 91  # two constants are searched
    assert found["kappa"].shared == (1.0,) * 5
    assert found["knots"].pays_from == 301
    assert not {"oracle-constant", "constant:1", "mean-trajectory:a"} & set(found)
    untold = {
        item.name: item
        for item in costs(evidence({"learned": [[1.0]], "constant:1": [[1.0]], "constant:2": [[1.0]]}))
    }
    assert (untold["learned"].before, untold["learned"].shared, untold["learned"].pays_from) == (
        None,
        (),
        None,
    )
