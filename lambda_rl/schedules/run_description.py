"""What a user says of a run, and what the rest is taken to be: the facts that a policy is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from lambda_rl.arguments import real_number, whole_number
from lambda_rl.attach.architecture import normalises, seems_normalised
from lambda_rl.attach.groups import DecayGroups
from lambda_rl.checks import shown
from lambda_rl.first_look.setting import seems_epochs
from lambda_rl.first_look.unlike_training import unlike_training
from lambda_rl.knobs import KAPPA
from lambda_rl.observation import RunFacts, typical_fact
from lambda_rl.observation.facts import YES_OR_NO, decay_pull
from lambda_rl.policy.actor import Policy

DEFAULT_CLASSES = 10
"""Taken for the number of classes where there are none: it then only is a unit of the loss."""

_LATER, _UNSAID = (*YES_OR_NO, "pull"), (None, 1.0)


@dataclass(frozen=True)
class RunDescription:
    """A run before it starts, as its user describes it; None is what was not said.

    Attributes:
        total_steps: optimizer steps of the whole run.
        facts: all facts at once; the others do not count then.
        num_train: training examples.
        val_size: validation examples that the signals are measured on.
        num_classes: classes.
        batch_size: examples a step, over all processes.
        lr_sum: effective learning rate summed over the run, see :class:`lambda_rl.RunFacts`.
        model: what is trained.

    Raises:
        ValueError: ``facts`` or ``model`` is something else, or one of the others is no such number.
    """

    total_steps: int | None = None
    facts: RunFacts | None = None
    num_train: int | None = None
    val_size: int | None = None
    num_classes: int | None = None
    batch_size: int | None = None
    lr_sum: float | None = None
    model: nn.Module | None = None

    def __post_init__(self) -> None:
        """Checks all, and makes them plain numbers, so that JSON can hold them."""
        if self.facts is not None and not isinstance(self.facts, RunFacts):
            raise ValueError(f"facts must be a lambda_rl.RunFacts, got {shown(self.facts)}")
        if self.model is not None and not isinstance(self.model, nn.Module):
            raise ValueError(f"model must be a torch.nn.Module, got {shown(self.model)}")
        for name, least in (("num_train", 1), ("val_size", 1), ("num_classes", 2), ("batch_size", 1)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, whole_number(name, value, least))
        if self.lr_sum is not None:
            object.__setattr__(self, "lr_sum", real_number("lr_sum", self.lr_sum, more=True))

    @property
    def classes_known(self) -> bool:
        """Whether the user said how many classes there are."""
        return self.facts is not None or self.num_classes is not None

    def told(self) -> dict[str, Any]:
        """What was said, by name; None what was not, and so is measured or taken to be as usual."""
        if self.facts is not None:
            said: dict[str, Any] = {"batch_size": None, **vars(self.facts)}
        else:
            said = {item.name: None for item in fields(RunFacts)}
            others = ("total_steps", "facts", "model")  # the model is measured
            said.update((name, value) for name, value in vars(self).items() if name not in others)
        # of those that states of before did not have, only what was said
        return {name: value for name, value in said.items() if name not in _LATER or value not in _UNSAID}

    def look_at(self, facts: RunFacts, policy: Policy, note: Callable[[str, str], None]) -> None:
        """Says what is mostly a slip, or outside what a policy was trained on.

        Args:
            facts: those of the run.
            policy: that is to act in it.
            note: called with (short name of the reason, text); an empty text is nothing.
        """
        note("unlike training", unlike_training(policy, facts))
        note("epochs", seems_epochs(self.total_steps, self.num_train, self.batch_size))

    def facts_for(
        self, policy: Policy, groups: DecayGroups | None, warn: Callable[[str, str], None]
    ) -> RunFacts:
        """The facts, measured or taken to be as in the policy's training where they were not given.

        Args:
            policy: whose training says what is usual.
            groups: of the optimizer that is to be scheduled.
            warn: called with (short name of the reason, text).

        Raises:
            ValueError: too little was said, or there is nothing to measure.
        """
        if self.facts is not None:
            return self.facts
        steps = self.total_steps
        if steps is None or groups is None:
            absent = [*(["total_steps"] if steps is None else []), *(["optimizer"] if groups is None else [])]
            raise ValueError(
                "LearnedSchedule needs facts=RunFacts(...), or an optimizer and total_steps; "
                f"missing: {', '.join(absent)}"
            )
        assumed = [name for name in ("num_train", "val_size", "batch_size") if getattr(self, name) is None]
        if assumed:
            warn(
                "facts",
                f"not given: {', '.join(assumed)}; taken to be as on average in the policy's training. Give them, the "
                "policy uses them",
            )

        def typical(name: str) -> float:
            return typical_fact(name, policy.usual(f"log_{name}") or 0.0)

        examples = self.num_train or max(round(typical("num_train")), 1)
        known = self.num_train is not None and self.batch_size is not None
        return RunFacts(
            num_train=examples,
            num_params=_num_params(groups),
            val_size=self.val_size or max(round(typical("val_size")), 1),
            num_classes=self.num_classes or DEFAULT_CLASSES,
            epochs=steps * (self.batch_size or 0) / examples if known else typical("epochs"),
            lr_sum=self.lr_sum or _lr_sum(groups, steps, peak=policy.card.unit == KAPPA),
            adaptive=groups.adaptive(),
            pull=decay_pull(groups.adaptive(), coupled=groups.meanings() == {"coupled"}),
            normalised=seems_normalised(groups.optimizers) if self.model is None else normalises(self.model),
        )


def _num_params(groups: DecayGroups) -> int:
    number = groups.num_params()
    if not number:
        raise ValueError(
            "all weights with decay are frozen (requires_grad=False), so that there is nothing to schedule; unfreeze "
            "those to be trained before the schedule is made, or give facts="
        )
    return number


def _lr_sum(groups: DecayGroups, steps: int, *, peak: bool) -> float:
    total = groups.lr_sum(steps, peak=peak)
    if not total:
        raise ValueError(
            "the learning rate is 0 at the start, which says nothing of the run; give lr_sum=, the learning rate "
            "summed over its steps (SGD with momentum: divided by 1 - momentum)"
        )
    return total
