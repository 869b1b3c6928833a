"""Settings of an optimizer and a run that are legal, and mostly a slip."""

from __future__ import annotations

from torch.nn.parameter import is_lazy

from lambda_rl.attach.groups import DecayGroups

SHORT = 1000
"""Runs of less than one epoch are usual where they have more steps than this."""

STRONG = 0.01
"""Decay that takes a larger share of the weights at each step is rarely meant."""


def own_decay(groups: DecayGroups | None) -> float | None:
    """The decay that an optimizer was made with, before λ is written over it; None if it had none of its own."""
    for optimizer in [] if groups is None else groups.optimizers:
        for group in optimizer.param_groups:
            if group.get("wd_mult") and float(group["weight_decay"]) > 0:
                return float(group["weight_decay"]) / float(group["wd_mult"])
    return None


def decayed_vectors(groups: DecayGroups) -> str:
    """Whether biases and scales of norms share a group with decay with matrices, as a sentence; empty if not.

    A group of vectors alone was meant to have decay.
    """
    count = 0
    for optimizer in groups.optimizers:
        for group in optimizer.param_groups:
            if not group.get("wd_mult"):
                continue
            dims = [p.dim() for p in group["params"] if not is_lazy(p)]
            count += sum(dim <= 1 for dim in dims) if max(dims, default=0) > 1 else 0
    if not count:
        return ""
    return (
        f"λ also decays {count} parameters of one dimension (biases, scales of norms), which share a group with the "
        "weights; lambda_rl.split_parameters(model, 1e-4) makes groups without decay for them"
    )


def seems_epochs(total_steps: int | None, num_train: int | None, batch_size: int | None) -> str:
    """Whether the number of steps looks as if it counted epochs, as a sentence; empty if not.

    Args:
        total_steps: optimizer steps of the run.
        num_train: training examples, if known.
        batch_size: examples a step, if known.
    """
    if total_steps is None or not num_train or not batch_size or total_steps > SHORT:
        return ""
    steps = -(-num_train // batch_size)  # of an epoch
    if total_steps >= steps:
        return ""
    return (
        f"total_steps={total_steps} is less than one epoch, which has {steps} steps of {batch_size} of {num_train} "
        f"examples; it counts optimizer steps: {total_steps} epochs are total_steps={total_steps * steps}"
    )


def strong_decay(lam: float, lr_sum: float, total_steps: int | None) -> str:
    """Whether a λ that was converted takes much of the weights at each step, as a sentence; empty if not.

    Args:
        lam: as it stands in the optimizer.
        lr_sum: learning rate summed over the run.
        total_steps: optimizer steps of the run.
    """
    share = lam * lr_sum / total_steps if total_steps else 0.0
    if share <= STRONG:
        return ""
    return (
        f"λ was converted to {lam:.3g}, which takes {100 * share:.2g} % of the weights at each step: the policy's λ "
        "does not fit so short a run, or so small a learning rate. Take the default policy, which moves κ, or give "
        "trust='auto'"
    )
