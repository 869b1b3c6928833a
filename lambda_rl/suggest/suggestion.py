"""λ for a decay budget κ, by parameter group: one that is named, or what the atlas says of the run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from lambda_rl.arguments import real_number, whole_number
from lambda_rl.attach.architecture import effective_lr, group_meaning, is_adaptive, normalises, peak_lr
from lambda_rl.attach.groups import unwrapped
from lambda_rl.checks import shown
from lambda_rl.observation.facts import decay_pull
from lambda_rl.suggest.atlas import Answer, load_atlas
from lambda_rl.suggest.kappa_law import Known, load_kappa_law

NAMED, ATLAS, CONSTANT = "named", "atlas", "constant"
"""Where κ may come from."""


@dataclass(frozen=True)
class Suggestion:
    """A constant weight decay.

    Attributes:
        weight_decay: of the group with the most parameters.
        kappa: the decay budget that it gives, e-foldings by which decay alone shrinks the weights over the run.
        interval: of κ, 95 %: by the atlas one that in so many settings of unseen families has a κ within half a point
            of the best; without it, values that are as good as can be told; of a κ that was named just this one.
        groups: ``weight_decay`` of each parameter group; None for those that have none.
        source: where κ comes from: ``named``, ``atlas``, or ``constant`` where too little was known for the atlas.
        outside: what of the run lies outside of the atlas, in words; κ is an extrapolation if there is anything.
    """

    weight_decay: float
    kappa: float
    interval: tuple[float, float]
    groups: tuple[float | None, ...]
    source: str = NAMED
    outside: tuple[str, ...] = ()

    @property
    def extrapolates(self) -> bool:
        """Whether the run is unlike those of the atlas."""
        return bool(self.outside)

    def __float__(self) -> float:
        """``weight_decay``."""
        return self.weight_decay

    def apply(self, optimizer: Optimizer) -> None:
        """Writes it to the parameter groups of the optimizer that it was made for.

        Raises:
            ValueError: there are other groups.
        """
        groups = unwrapped(optimizer).param_groups
        if len(groups) != len(self.groups):
            raise ValueError(
                f"the suggestion is for {len(self.groups)} parameter groups, there are {len(groups)}"
            )
        for group, decay in zip(groups, self.groups, strict=True):
            if decay is not None and isinstance(group["weight_decay"], Tensor):
                group["weight_decay"].fill_(decay)
            elif decay is not None:
                group["weight_decay"] = decay


def suggest_weight_decay(
    optimizer: Optimizer,
    total_steps: int,
    *,
    kappa: float | None = None,
    lr_sum: float | None = None,
    epochs: float | None = None,
    num_train: int | None = None,
    model: nn.Module | None = None,
) -> Suggestion:
    """The weight decay of a run for a decay budget κ, which needs no validation data.

    κ = λ · (effective learning rate summed over the run) is how many e-foldings decay alone would shrink the weights
    by; for AdamW that is epochs over the τ of Wang & Aitchison, 2024. The learning rate is taken to stay at its peak,
    for SGD over 1 - momentum. For Adam with coupled decay see ``observation.facts.ADAM_PULL``.

    The decay goes to groups that have one (in the ratios that they have, or by ``wd_mult``), where there is none to all
    with weights of two or more dimensions.

    Where ``epochs`` is told, κ is by a law fitted to the atlas of constants (docs/atlas.md), and what is outside of
    it is named. Else it is the best single one on the training distribution of the policies.

    Args:
        optimizer: made as it will be used, after its learning rate scheduler if there is one.
        total_steps: optimizer steps of the run.
        kappa: the budget, 0 or more; None: as said above.
        lr_sum: Σ lr of the first group, for SGD over 1 - momentum; None: as at the peak throughout.
        epochs: passes over the training examples; the atlas asks for it, and for the next two if they are told.
        num_train: training examples.
        model: tells whether there are norm layers.

    Returns:
        A number with its κ and interval; its ``apply(optimizer)`` sets it.

    Raises:
        ValueError: a number is not as said above, the learning rate is 0, or the optimizer knows no decay.
    """
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer must be a torch.optim.Optimizer, got {shown(optimizer)}")
    optimizer, steps = unwrapped(optimizer), whole_number("total_steps", total_steps)
    groups, shares = optimizer.param_groups, _shares(optimizer)
    sizes = [_size(group) if share else 0 for group, share in zip(groups, shares, strict=True)]
    if kappa is None:
        answer, source = _fitted(
            optimizer, (steps, sum(sizes)), epochs=epochs, num_train=num_train, model=model
        )
    else:
        kappa = real_number("kappa", kappa)
        answer, source = Answer(kappa, (kappa, kappa)), NAMED
    sums = [_decay_sum(optimizer, group, steps) for group in groups]
    if lr_sum is not None:
        answer = answer.at_the_mean_rate()
        scale = real_number("lr_sum", lr_sum, more=True) / _lr_sum(optimizer, groups[0], steps)
        sums = [scale * total for total in sums]
    decays = tuple(
        share * answer.kappa / total if share else None for share, total in zip(shares, sums, strict=True)
    )
    main = decays[sizes.index(max(sizes))]
    assert main is not None  # the largest group with decay
    return Suggestion(main, answer.kappa, answer.interval, decays, source, answer.outside)


def _fitted(
    optimizer: Optimizer,
    sizes: tuple[int, int],
    *,
    epochs: float | None,
    num_train: int | None,
    model: nn.Module | None,
) -> tuple[Answer, str]:
    """κ where none is named, and where it comes from; ``sizes`` are steps and weights with decay."""
    steps, num_params = sizes
    facts: dict[str, float] = {"steps": steps}
    if num_train is not None:
        facts["num_train"] = whole_number("num_train", num_train)
        facts["num_params"] = num_params
        facts["params_per_example"] = num_params / facts["num_train"]
    if epochs is not None:
        facts["epochs"] = real_number("epochs", epochs, more=True)
    group = optimizer.param_groups[0]
    adaptive = is_adaptive(optimizer, group)
    layers = None if model is None else normalises(model)
    total = _decay_sum(optimizer, group, steps)
    known = Known(facts.get("epochs"), facts.get("params_per_example"), adaptive, layers, total)
    answer = load_atlas().answer(known, facts)
    if answer is None:
        kappa, low, high = load_kappa_law().kappa(known)
        return Answer(kappa, (low, high)), CONSTANT
    if adaptive and group_meaning(optimizer, group) == "coupled":
        answer = replace(answer, outside=("Adam with coupled decay", *answer.outside))
    return answer, ATLAS


def _size(group: dict[str, Any]) -> int:
    return sum(p.numel() for p in group["params"] if p.requires_grad)


def _shares(optimizer: Optimizer) -> list[float]:
    """What the decay of each group is multiplied by; 0: it gets none."""
    groups = optimizer.param_groups
    name = type(optimizer).__name__
    if any("weight_decay" not in group for group in groups):
        raise ValueError(f"{name} has no weight_decay")
    decays = [real_number("weight_decay of every group", group["weight_decay"]) for group in groups]
    largest = max(decays)
    told = [
        group.get("wd_mult", decay / largest if largest else 0.0)
        for group, decay in zip(groups, decays, strict=True)
    ]
    if not any(told):
        told = [float(any(p.ndim > 1 for p in group["params"])) for group in groups]
    shares = [real_number("wd_mult of every group", share) for share in told]
    if not any(_size(group) for group, share in zip(groups, shares, strict=True) if share):
        raise ValueError(f"{name} trains no weights of two or more dimensions, and no group of it has decay")
    return shares


def _lr_sum(optimizer: Optimizer, group: dict[str, Any], steps: int) -> float:
    """Effective learning rate summed over the run."""
    rate = peak_lr(group)
    if not rate > 0:
        raise ValueError(
            f"the learning rate of {type(optimizer).__name__} is {rate:g}, which says nothing of the run; make it with "
            "the peak rate of the run"
        )
    return effective_lr(optimizer, group, rate) * steps


def _decay_sum(optimizer: Optimizer, group: dict[str, Any], steps: int) -> float:
    """What λ is multiplied by to give κ."""
    coupled = group_meaning(optimizer, group) == "coupled"
    return decay_pull(is_adaptive(optimizer, group), coupled=coupled) * _lr_sum(optimizer, group, steps)
