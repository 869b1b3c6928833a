"""The learned schedule: a policy file in a training loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.optim import Optimizer

from lambda_rl.features import Observer, RunFacts, Signals
from lambda_rl.policy import Policy, load_policy
from lambda_rl.schedule import Schedule

_SIGNALS = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")


class LearnedSchedule(Schedule):
    """Lets a learned policy set λ.

    The first decision is made at construction, out of what is known before the run, and one more at each
    ``step()``; observation features and control law are those of the environment that the policy was trained
    in.

    Signals of ``step()``: the four of :class:`~lambda_rl.schedule.Schedule`, and ``weight_norm`` (Euclidean
    norm of the penalised weights), ``penalty`` (λ · R(w), with the λ that was in force) and ``lr_ratio``
    (learning rate over its start). With an optimizer the last three are measured on its groups with decay,
    unless given. A signal that is missing keeps its last value, at first chance level, with one warning for
    the four (``penalty`` follows from ``weight_norm`` for L2). If both losses are missing, any given signal
    is not finite, the policy's action is not finite, or the run is over (progress 1), λ is held.

    Args:
        optimizer: one, several or none; its decay must mean what the policy's λ means (coupled: SGD, Adam;
            decoupled: AdamW).
        policy: a policy, or the path of a policy file.
        total_steps: optimizer steps of the whole run.
        facts: what is known before the run. Without it, an optimizer, ``total_steps`` and the next four are
            needed.
        num_train: training examples.
        val_size: validation examples that the signals are measured on.
        num_classes: classes.
        batch_size: examples a step.
        lr_sum: effective learning rate summed over the run, see :class:`lambda_rl.RunFacts`; None: as if the
            learning rate stayed as at the start.
        initial_lam: λ that the first decision changes; clipped to the policy's range. None: the card's, else
            the geometric middle of the range.
        weight_norm: norm of the initial penalised weights; needed without an optimizer.
        penalty_sum: R(w) at the start, without λ; needed only without an optimizer for a penalty other than L2.
        lam_meaning: the policy's meaning of λ, given to use it with an optimizer of the other one. λ is not
            converted (it need not be for plain SGD, where both are the same).

    Raises:
        PolicyFileError: the policy file cannot be used.
        ValueError: facts missing, another meaning of λ, or a penalty that weight decay cannot be.
    """

    def __init__(
        self,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        policy: Policy | str | Path,
        total_steps: int | None = None,
        facts: RunFacts | None = None,
        num_train: int | None = None,
        val_size: int | None = None,
        num_classes: int | None = None,
        batch_size: int | None = None,
        lr_sum: float | None = None,
        initial_lam: float | None = None,
        weight_norm: float | None = None,
        penalty_sum: float | None = None,
        lam_meaning: str | None = None,
    ) -> None:
        self.policy = policy if isinstance(policy, Policy) else load_policy(policy)
        card = self.policy.card
        self.control = card.control
        # The range as powers of ten is rounded; widened by a hair, so that clipping never alters the control
        # law's λ.
        lam_range = (10.0**card.log_lam_min * (1 - 1e-12), 10.0**card.log_lam_max * (1 + 1e-12))
        super().__init__(optimizer, total_steps=total_steps, lam_range=lam_range)
        self._check_meaning(lam_meaning)
        if facts is None:
            facts = self._facts(num_train, val_size, num_classes, batch_size, lr_sum)
        self.facts = facts
        start = initial_lam if initial_lam is not None else card.initial_lam
        if start is None:
            log_lam = 0.5 * (card.log_lam_min + card.log_lam_max)
        elif math.isfinite(start) and start > 0:
            log_lam = float(self.control.clip(math.log10(start)))
        else:
            raise ValueError(f"initial_lam must be finite and above 0, got {start}")
        self._log_lam = log_lam

        measured_norm, measured_sum = self.groups.norms() if self.groups is not None else (None, None)
        weight_norm = measured_norm if weight_norm is None else float(weight_norm)
        if weight_norm is None:
            raise ValueError(
                "LearnedSchedule without an optimizer needs weight_norm=, the norm of the penalised weights"
            )
        if penalty_sum is None:
            penalty_sum = measured_sum if measured_sum is not None else 0.5 * weight_norm**2
        self._last = {
            "train_loss": math.log(facts.num_classes),
            "val_loss": math.log(facts.num_classes),
            "train_accuracy": 1.0 / facts.num_classes,
            "val_accuracy": 1.0 / facts.num_classes,
            "weight_norm": weight_norm,
            "lr_ratio": 1.0,
        }
        self._last_r = float(penalty_sum)  # R(w), λ taken out
        self.observer = Observer(1, self.control)
        first = self.observer.reset(
            0, facts, log_lam=log_lam, weight_norm=weight_norm, penalty=10.0**log_lam * self._last_r
        )
        self._config = {"policy": self.policy.fingerprint}
        self._start(self._decide(first))

    def _check_meaning(self, told: str | None) -> None:
        card = self.policy.card
        if told is not None and told not in ("coupled", "decoupled"):
            raise ValueError(f"unknown lam_meaning {told!r}; allowed: coupled, decoupled")
        if told is not None and card.lam_meaning not in (told, "any"):
            raise ValueError(f"lam_meaning={told!r}, but the policy's λ is {card.lam_meaning}")
        if self.groups is None:
            return
        if card.penalty not in ("l2", "any"):
            raise ValueError(
                f"the policy was trained for the {card.penalty} penalty, which weight_decay of an optimizer cannot be; "
                "use it without an optimizer and add value * lambda_rl.penalty(model, kind) to the loss"
            )
        found = self.groups.meanings()
        if told is None and card.lam_meaning != "any" and found != {card.lam_meaning}:
            raise ValueError(
                f"the policy's λ is {card.lam_meaning} decay, the optimizer's weight_decay is "
                f"{' and '.join(sorted(found))} (coupled: SGD, Adam; decoupled: AdamW); take a policy of that meaning, "
                f"or say lam_meaning={card.lam_meaning!r} to use this one unconverted"
            )

    def _facts(
        self,
        num_train: int | None,
        val_size: int | None,
        num_classes: int | None,
        batch_size: int | None,
        lr_sum: float | None,
    ) -> RunFacts:
        needed = {
            "total_steps": self.total_steps,
            "num_train": num_train,
            "val_size": val_size,
            "num_classes": num_classes,
            "batch_size": batch_size,
        }
        known = {name: value for name, value in needed.items() if value is not None}
        missing = [*(name for name in needed if name not in known), *([] if self.groups else ["optimizer"])]
        if missing or self.groups is None:
            raise ValueError(
                "LearnedSchedule needs facts=RunFacts(...), or all of its parts; "
                f"missing: {', '.join(missing)}"
            )
        steps, examples = known["total_steps"], known["num_train"]
        return RunFacts(
            num_train=examples,
            num_params=self.groups.num_params(),
            val_size=known["val_size"],
            num_classes=known["num_classes"],
            epochs=steps * known["batch_size"] / max(examples, 1),
            lr_sum=self.groups.lr_sum(steps) if lr_sum is None else lr_sum,
        )

    def _next(self, progress: float | None, signals: dict[str, float]) -> float:
        assert progress is not None  # needs_progress
        wild = sorted(name for name, value in signals.items() if not math.isfinite(value))
        if wild:
            self._warn_once("finite", f"signal not finite ({', '.join(wild)}); λ is held")
            return self.value
        if "train_loss" not in signals and "val_loss" not in signals:
            self._warn_once("losses", "neither train_loss nor val_loss was given; λ is held")
            return self.value
        absent = [name for name in _SIGNALS if name not in signals]
        if absent:
            self._warn_once(
                "absent", f"signal missing ({', '.join(absent)}); its last value, or chance, is used"
            )
        if self.groups is not None:
            self._last["lr_ratio"] = self.groups.lr_ratio()
            if "weight_norm" not in signals or "penalty" not in signals:
                self._last["weight_norm"], self._last_r = self.groups.norms()
        elif "weight_norm" in signals and self.policy.card.penalty == "l2":
            self._last_r = 0.5 * signals["weight_norm"] ** 2
        self._last.update((name, signals[name]) for name in self._last if name in signals)
        lam = self.value
        if "penalty" in signals and lam > 0:
            self._last_r = signals["penalty"] / lam
        penalty = signals.get("penalty", lam * self._last_r)
        observation = self.observer.observe(
            Signals(
                progress=np.array([progress]),
                log_lam=np.array([self._log_lam]),
                penalty=np.array([penalty]),
                **{name: np.array([value]) for name, value in self._last.items()},
            ),
            (0,),
        )
        if progress >= 1.0:
            return self.value
        return self._decide(observation[0])

    def _decide(self, observation: Any) -> float:
        """λ after the policy's action on one observation."""
        action = float(self.policy.act(observation)[0])
        if not math.isfinite(action):
            self._warn_once("action", "the policy's action is not finite; λ is held")
            action = 0.0
        self._log_lam = float(self.control.apply(self._log_lam, action))
        return 10.0**self._log_lam

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as plain values; the policy itself only by its fingerprint."""
        return {
            **super().state_dict(),
            "log_lam": self._log_lam,
            "last": dict(self._last),
            "last_r": self._last_r,
            "facts": {name: getattr(self.facts, name) for name in self.facts.__dataclass_fields__},
            "observer": self.observer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the state was taken; the policy must be the same one."""
        super().load_state_dict(state)
        self._log_lam = float(state["log_lam"])
        self._last = dict(state["last"])
        self._last_r = float(state["last_r"])
        self.facts = RunFacts(**state["facts"])
        self.observer.load_state_dict(state["observer"])
