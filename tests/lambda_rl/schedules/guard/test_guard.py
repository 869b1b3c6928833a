"""Real runs that a bad policy ruins without the guard, and sound ones in which it never acts."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lambda_rl import Knob, LearnedSchedule, Policy, PolicyCard, policy_from_arrays, split_parameters

digits = pytest.importorskip("sklearn.datasets").load_digits()

UNDONE, CHANCE, FALLS, UNDER = "decay undoes", "is at chance", "validation falls", "does not overfit"


def stubborn(kappa: float, action: float, unit: str = "kappa") -> Policy:
    """A policy that begins with a κ (or λ), and does the same at each decision, whatever it reads."""
    return policy_from_arrays(
        obs_mean=[0.0], obs_var=[1.0], layers=[(np.zeros((1, 1)), [action])],
        card=PolicyCard(
            knobs=(Knob(unit, -2.0 if unit == "kappa" else -5.0, 2.2, 0.5),), features=("progress",),
            lam_meaning="any", initial=(kappa,),
        ),
    )  # fmt: skip


@dataclass
class Loop:
    """600 images of 10 digits, two hidden layers, a cosine: as a user would write it."""

    policy: Policy
    guard: bool | None = None
    noise: float = 0.3
    optimizer: str = "sgd"
    rate: float = 0.05
    scale: float = 1.0
    norm: bool = False
    steps: int = 400

    def __post_init__(self) -> None:
        self.x, self.y = images(self.noise)
        torch.manual_seed(0)
        wide = [nn.Sequential(nn.Linear(n, 128), *norms(self.norm), nn.ReLU()) for n in (64, 128)]
        self.model = nn.Sequential(*wide, nn.Linear(128, 10))
        groups = split_parameters(self.model, 1e-4)
        with torch.no_grad():
            for weight in groups[0]["params"]:
                weight.mul_(self.scale)
        kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        self.opt = (
            torch.optim.SGD(groups, lr=self.rate, momentum=0.9)
            if self.optimizer == "sgd"
            else kinds[self.optimizer](groups, lr=self.rate)
        )
        self.rates = torch.optim.lr_scheduler.CosineAnnealingLR(self.opt, self.steps)
        self.schedule = LearnedSchedule(
            self.opt, policy=self.policy, guard=self.guard, total_steps=self.steps, num_train=600, val_size=300,
            num_classes=10, batch_size=64,
        )  # fmt: skip
        self.orders = torch.Generator().manual_seed(0)

    def parts(self) -> dict[str, Any]:
        return {"model": self.model, "opt": self.opt, "rates": self.rates, "schedule": self.schedule}

    def train(self, first: int = 0, last: int | None = None) -> None:
        losses, hits = [], []
        for step in range(first, self.steps if last is None else last):
            index = torch.from_numpy(np.random.default_rng(step).choice(600, 64, replace=False))
            logits = self.model.train()(self.x[index])
            loss = F.cross_entropy(logits, self.y[index])
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            self.rates.step()
            losses.append(loss.item())
            hits.append((logits.argmax(1) == self.y[index]).float().mean().item())
            if (step + 1) % (self.steps // 20) == 0:
                guess, truth = self.guess(slice(600, 900))
                self.schedule.step(
                    train_loss=float(np.mean(losses)), train_accuracy=float(np.mean(hits)),
                    val_loss=F.cross_entropy(guess, truth), val_accuracy=(guess.argmax(1) == truth).float().mean(),
                )  # fmt: skip
                losses, hits = [], []

    def guess(self, part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            return self.model.eval()(self.x[part]), self.y[part]

    def accuracy(self) -> float:
        """Of the rest, percent."""
        guess, truth = self.guess(slice(900, None))
        return 100.0 * float((guess.argmax(1) == truth).float().mean())


def images(noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The first 600 with wrong labels among them are for training, the next 300 for validation."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(digits.data))
    x, y = digits.data[order].astype(np.float32), digits.target[order].copy()
    wrong = np.flatnonzero(rng.random(600) < noise)
    y[wrong] = rng.integers(0, 10, len(wrong))
    return torch.from_numpy((x - x.mean(0)) / (x.std(0) + 1e-6)), torch.from_numpy(y)


def norms(wanted: bool) -> list[nn.Module]:
    return [nn.BatchNorm1d(128)] if wanted else []


def run(policy: Policy, guard: bool | None, **options: Any) -> tuple[float, list[str], Loop]:
    """Accuracy, warnings of the guard, and the loop."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        loop = Loop(policy, guard, **options)
        loop.train()
    told = [
        str(w.message)
        for w in found
        if any(text in str(w.message) for text in (UNDONE, CHANCE, FALLS, UNDER))
    ]
    return loop.accuracy(), told, loop


@pytest.mark.parametrize(
    ("policy", "options", "without", "held", "reason"),
    [
        # κ rises by 1.4 or by 3.2 at each decision
        (stubborn(1.0, 0.3), {}, 20, 85, UNDER),
        (stubborn(1.0, 1.0), {}, 20, 60, UNDONE),  # the bound relaxes: over the edge again
        (stubborn(1.0, 0.3), {"optimizer": "adam", "rate": 1e-3}, 20, 80, UNDER),
        # κ that would be good with usual weights stays on small ones
        (
            stubborn(10.0, 0.0),
            {"scale": 0.2, "steps": 600},
            20,
            80,
            FALLS,
        ),  # held from the start, then too low
        # κ that shrinks the last layer to nothing, which no norm makes good
        (stubborn(158.0, 0.5), {"norm": True, "rate": 0.005}, 60, 85, CHANCE),
        # κ falls while wrong labels are learned by heart
        (stubborn(1.0, -1.0), {}, 81, 86, FALLS),
        (stubborn(0.01, 0.0), {"optimizer": "adamw", "rate": 3e-3}, 81, 86, FALLS),
    ],
)
def test_a_bad_policy_ruins_a_run_and_is_held(
    policy: Policy, options: dict[str, Any], without: float, held: float, reason: str
) -> None:
    accuracy, told, _ = run(policy, False, **options)
    assert accuracy < without
    assert not told
    accuracy, told, _ = run(policy, None, **options)
    assert accuracy > held
    assert len(told) == len(set(told))
    assert any(reason in text for text in told)


def test_the_guard_does_nothing_in_a_sound_run_with_norms() -> None:
    policy, options = stubborn(20.0, 0.0), {"norm": True, "noise": 0.0}
    plain, _, without = run(policy, False, **options)
    accuracy, told, loop = run(policy, True, **options)
    assert not told
    assert loop.schedule.history == without.schedule.history
    assert accuracy == plain


@pytest.mark.parametrize("policy", [stubborn(1.0, -1.0), stubborn(0.3, 0.0)])
def test_in_sound_runs_the_guard_holds_the_first_decisions_only(policy: Policy) -> None:
    plain, _, without = run(policy, False, noise=0.0)
    accuracy, told, loop = run(policy, True, noise=0.0)
    assert not told
    free, held = ([row["kappa"] for row in one.schedule.history] for one in (without, loop))
    assert held[:2] == pytest.approx([0.05, 0.05])
    assert held[3:] == free[3:]  # and not from 0.05 on
    assert abs(accuracy - plain) < 0.5


@pytest.mark.parametrize(
    ("policy", "options"),
    [(stubborn(5.0, 0.0), {}), (stubborn(10.0, 0.0), {"optimizer": "adamw", "rate": 3e-3})],
)
def test_much_decay_that_would_be_good_is_held_at_small_cost(policy: Policy, options: dict[str, Any]) -> None:
    """Validation has no wrong labels, training has 30 %: nothing overfits for long, and κ is kept at 3."""
    plain, *_ = run(policy, False, **options)
    accuracy, told, loop = run(policy, True, **options)
    assert max(row["kappa"] for row in loop.schedule.history[1:14]) <= 3.001
    assert plain - 6.0 < accuracy < plain
    assert any(UNDER in text for text in told)


def test_policies_that_move_lam_can_have_it_too() -> None:
    policy = stubborn(1e-2, 0.3, "lam")
    bad, none, _ = run(policy, None)
    good, told, _ = run(policy, True)
    assert not none
    assert bad < 20 < 80 < good
    assert any(UNDONE in text for text in told)


def test_a_guarded_run_goes_on_from_its_checkpoint() -> None:
    policy = stubborn(1.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole, first, second = Loop(policy), Loop(policy), Loop(policy)
        whole.train()
        first.train(last=200)
        state = json.loads(json.dumps(first.schedule.state_dict()))
        for name, part in second.parts().items():
            part.load_state_dict(state if name == "schedule" else first.parts()[name].state_dict())
        second.train(first=200)
    assert second.schedule.history == whole.schedule.history
    assert second.schedule.history[-1]["kappa"] < 40  # held
    with pytest.raises(ValueError, match="guard"):
        Loop(policy, False).schedule.load_state_dict(state)
