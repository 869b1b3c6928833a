"""A new knob is one class and one registration: a second action, moved beside λ."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import Tensor
from torch.optim import Optimizer
from whole_way import compared, deploy, deployed, loaded, suite_file, trained_and_exported

from lambda_rl.knobs import KNOBS, KnobKind


class Rate(KnobKind):
    """A factor of the learning rate."""

    log_low, log_high, max_change = -1.0, 0.5, 0.25

    def train(self, inputs: dict[str, Tensor], value: Tensor) -> None:
        inputs["learning_rate"].mul_(value)

    def deploy(self, optimizers: Sequence[Optimizer], value: float, before: float) -> None:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] *= value / before


def test_a_knob_goes_the_whole_way(tmp_path: Path) -> None:
    with KNOBS.temporarily("rate", Rate()):
        suite = suite_file(tmp_path)
        path = trained_and_exported(tmp_path, suite, knobs=("rate",))
        policy = loaded(path)
        assert [knob.name for knob in policy.card.knobs] == ["lam", "rate"]
        assert policy.card.features[-2:] == ("rate:position", "rate:change")

        schedule = deploy(policy)
        assert schedule.groups is not None
        (optimizer,) = schedule.groups.optimizers
        assert schedule.knobs["rate"] != 1.0  # it was moved, and the optimizer has it
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * schedule.knobs["rate"])
        assert optimizer.param_groups[0]["weight_decay"] == schedule.value

        compared(tmp_path, suite, path)
    with pytest.raises(ValueError, match="unknown knob 'rate'"):
        deployed(loaded(path), optimizer)
