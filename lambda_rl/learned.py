"""The learned schedule: a policy file in a training loop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch.optim import Optimizer

from lambda_rl.distributed import active, mean_over_ranks
from lambda_rl.features import Observer, RunFacts, Signals, typical_fact
from lambda_rl.meaning import DECAYS, must_convert, typical_lr_sum
from lambda_rl.policy import Policy
from lambda_rl.policy_file import load_policy
from lambda_rl.safety import Safety
from lambda_rl.schedule import Schedule
from lambda_rl.signals import Collector, Number

_WATCHED = (
    "train_loss",
    "val_loss",
    "train_accuracy",
    "val_accuracy",
    "weight_norm",
    "penalty",
    "lr_ratio",
)
_DEFAULT_CLASSES = 10

LossScale = Literal["cross-entropy", "start"] | float | None


class LearnedSchedule(Schedule):
    """Lets a learned policy set λ.

    The first decision is made at construction, out of what is known before the run; observation features and
    control law are those of the environment that the policy was trained in. :meth:`step` may be called at any
    rhythm: the policy acts on progress. A decision is due when 1/``decisions`` of the run has passed since the
    last one, to within half of what the call itself covers (or one optimizer step): so calls in the
    environment's rhythm decide each time and give its λ exactly, and so do fewer calls than ``decisions``; calls
    of every minibatch decide every so often. Of the calls since the last decision, ``train_loss`` and
    ``train_accuracy`` are averaged, weighted by the progress that each covers, and of all other signals the last
    one counts. Signals may be tensors of one element on any device; they are read when a decision is due, and no
    other call waits for the device. :attr:`history` has a row for the start and for each decision.

    **Signals** of ``step()``: the four of :class:`~lambda_rl.schedule.Schedule`, and ``weight_norm`` (Euclidean
    norm of the penalised weights), ``penalty`` (λ · R(w), with the λ that was in force) and ``lr_ratio``
    (learning rate over its start). With an optimizer the last three are measured on its groups with decay,
    unless given; without one they keep their last value (``penalty`` follows from ``weight_norm`` for L2). Both
    losses are needed: a decision that is due without one of them waits until it is there. A missing accuracy (a
    regression, or none measured on training minibatches) is inferred from its own loss: from chance, where the
    loss is as at the start, in proportion to 1, where it is 0.

    **Loss**: what guessing gets must be known. For cross-entropy it is log(``num_classes``). Without
    ``num_classes`` the first training loss stands for it (``loss_scale="start"``); better give the number, such
    as the variance of the targets for a squared error: ``loss_scale=2.5``. λ itself is not rescaled.

    **Safety** (:mod:`lambda_rl.safety` has the numbers): λ stays in the policy's range, and the last one is held,
    with one warning for each reason that says why, if a signal is not finite, an accuracy not within 0 and 1, or a
    loss negative; four or more entries of the observation that the policy looks at lie more than 6 standard
    deviations from its training mean; the policy's action is not finite; more than 5 decisions in a row ask for a λ
    above the range: then λ goes back to the last one inside it, until the policy asks for less (at the lower end it
    stays, as without this rule).
    The environment has no such rules. None of them applies to sound runs like those of training, so that λ is
    the environment's there; ``lambda_rl.envs.rollout`` judges schedules with them, as deployed.

    **Several processes** (``torch.distributed`` initialised before the schedule is made): signals are averaged
    over ranks with one small ``all_reduce`` a decision, so every rank must call ``step()`` at the same progress,
    and has the same λ. A signal that only some ranks have is their mean.

    Args:
        optimizer: one, several or none; its decay must mean what the policy's λ means (coupled: SGD, Adam;
            decoupled: AdamW), see ``lam_meaning``.
        policy: a policy, the name of a shipped one, or the path of a policy file; None: the default shipped one.
        total_steps: optimizer steps of the whole run.
        facts: what is known before the run. Without it, an optimizer, ``total_steps`` and if possible the next
            five are needed; those of ``num_train``, ``val_size`` and ``batch_size`` that are missing are taken
            to be as on average in the policy's training, with one warning.
        num_train: training examples.
        val_size: validation examples that the signals are measured on.
        num_classes: classes; None: the loss is not a cross-entropy.
        batch_size: examples a step, over all processes.
        lr_sum: effective learning rate summed over the run, see :class:`lambda_rl.RunFacts`; None: as if the
            learning rate stayed as at the start.
        initial_lam: λ that the first decision changes; clipped to the policy's range. None: the card's, else
            the geometric middle of the range.
        weight_norm: norm of the initial penalised weights; needed without an optimizer.
        penalty_sum: R(w) at the start, without λ; needed only without an optimizer for a penalty other than L2.
        lam_meaning: for a run of the other meaning. The policy's own meaning uses λ unconverted (right
            for plain SGD, where both are the same). "convert" multiplies λ, and its range, by a constant such
            that λ · ``lr_sum``, the shrinking over the whole run, is that of an average run of the policy's
            training. None: another meaning is refused.
        decay: what λ means in this run, "coupled" or "decoupled". None: what the optimizer says; without an
            optimizer, what the policy's λ means.
        decisions: K, decisions in the run; None: as many as the policy was trained with.
        loss_scale: "cross-entropy", "start" or the loss of guessing, above 0; None: "cross-entropy" if the
            number of classes is known, else "start".
        distributed: "auto" averages over ranks if there are any; False: this process on its own.

    Raises:
        PolicyFileError: the policy file cannot be used.
        ValueError: facts missing, another meaning of λ, a penalty that weight decay cannot be, or an option
            outside of what is said above.
    """

    def __init__(
        self,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        policy: Policy | str | Path | None = None,
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
        decay: str | None = None,
        decisions: int | None = None,
        loss_scale: LossScale = None,
        distributed: Literal["auto", False] = "auto",
    ) -> None:
        self.policy = policy if isinstance(policy, Policy) else load_policy(policy)
        card = self.policy.card
        self.control = card.lam_control
        if distributed not in ("auto", False):
            raise ValueError(f'distributed must be "auto" or False, got {distributed!r}')
        self.distributed = distributed
        self.decisions = card.decisions if decisions is None else decisions
        if isinstance(self.decisions, bool) or not isinstance(self.decisions, int) or self.decisions < 1:
            raise ValueError(f"decisions must be a whole number of 1 or more, got {decisions!r}")
        super().__init__(optimizer, total_steps=total_steps)
        if decay not in (None, *DECAYS):
            raise ValueError(f"unknown decay {decay!r}; allowed: {', '.join(DECAYS)}")
        if self.groups is not None and card.penalty not in ("l2", "any"):
            raise ValueError(
                f"the policy was trained for the {card.penalty} penalty, which weight_decay of an optimizer cannot be; "
                "use it without an optimizer and add value * lambda_rl.penalty(model, kind) to the loss"
            )
        found = {decay} if decay is not None else set() if self.groups is None else self.groups.meanings()
        converting = must_convert(self.policy, lam_meaning, found)
        self._classes_known = facts is not None or num_classes is not None
        self._loss_scale = _check_scale(loss_scale, self._classes_known)
        if facts is None:
            facts = self._facts(num_train, val_size, num_classes, batch_size, lr_sum)
        self.factor = 1.0
        if converting:
            typical = typical_lr_sum(self.policy)
            self.factor = typical / facts.lr_sum
            facts = dataclasses.replace(facts, lr_sum=typical)
        self.facts = facts
        if self._loss_scale == "cross-entropy":
            self._loss_scale = math.log(facts.num_classes)
        self.lam_range = self._range()
        self._log_lam = self._first_log_lam(initial_lam)
        self._safety = Safety(self.policy, self._log_lam, self._warn_once)

        measured_norm, measured_sum = self.groups.norms() if self.groups is not None else (None, None)
        weight_norm = measured_norm if weight_norm is None else float(weight_norm)
        if weight_norm is None:
            raise ValueError(
                "LearnedSchedule without an optimizer needs weight_norm=, the norm of the penalised weights"
            )
        if penalty_sum is None:
            penalty_sum = measured_sum if measured_sum is not None else 0.5 * weight_norm**2
        if self._over_ranks:
            weight_norm, penalty_sum = (v or 0.0 for v in mean_over_ranks([weight_norm, float(penalty_sum)]))
        self._last = {"weight_norm": weight_norm, "lr_ratio": 1.0, "penalty_sum": float(penalty_sum)}
        self._collector = Collector()
        self._at_call = self._at_decision = 0.0
        self.observer = Observer(1, self.control)
        unit = self._unit() or 1.0
        first = self.observer.reset(
            0,
            facts,
            log_lam=self._log_lam,
            weight_norm=weight_norm,
            penalty=10.0**self._log_lam * self._last["penalty_sum"] * unit,
        )
        self._config = {"policy": self.policy.fingerprint, "decisions": self.decisions}
        self._start(self._decide(self.policy.select(first)))

    # ---- construction

    def _facts(
        self,
        num_train: int | None,
        val_size: int | None,
        num_classes: int | None,
        batch_size: int | None,
        lr_sum: float | None,
    ) -> RunFacts:
        steps, groups = self.total_steps, self.groups
        if steps is None or groups is None:
            absent = [*(["total_steps"] if steps is None else []), *(["optimizer"] if groups is None else [])]
            raise ValueError(
                "LearnedSchedule needs facts=RunFacts(...), or an optimizer and total_steps; "
                f"missing: {', '.join(absent)}"
            )
        given = {"num_train": num_train, "val_size": val_size, "batch_size": batch_size}
        assumed = [name for name, value in given.items() if value is None]
        if assumed:
            self._warn_once(
                "facts",
                f"not given: {', '.join(assumed)}; taken to be as on average in the policy's training. Give them, the "
                "policy uses them",
            )

        def typical(name: str) -> float:
            return typical_fact(name, self.policy.usual(f"log_{name}") or 0.0)

        examples = num_train if num_train is not None else max(round(typical("num_train")), 1)
        known = num_train is not None and batch_size is not None
        return RunFacts(
            num_train=examples,
            num_params=groups.num_params(),
            val_size=val_size if val_size is not None else max(round(typical("val_size")), 1),
            num_classes=_DEFAULT_CLASSES if num_classes is None else num_classes,
            epochs=steps * (batch_size or 0) / max(examples, 1) if known else typical("epochs"),
            lr_sum=groups.lr_sum(steps) if lr_sum is None else lr_sum,
        )

    def _range(self) -> tuple[float, float]:
        """The range of λ, wider by a hair than rounded powers of ten: clipping never alters the control law's λ."""
        low, high = 10.0**self.control.log_lam_min, 10.0**self.control.log_lam_max
        return low * self.factor * (1 - 1e-12), high * self.factor * (1 + 1e-12)

    def _first_log_lam(self, initial_lam: float | None) -> float:
        card = self.policy.card
        if initial_lam is None:
            if card.initial_lam is None:
                return 0.5 * (card.log_lam_min + card.log_lam_max)
            return self.control.clip(math.log10(card.initial_lam))
        if not (math.isfinite(initial_lam) and initial_lam > 0):
            raise ValueError(f"initial_lam must be finite and above 0, got {initial_lam}")
        return self.control.clip(math.log10(initial_lam / self.factor))

    # ---- calls

    @property
    def _over_ranks(self) -> bool:
        return self.distributed == "auto" and active()

    def _unit(self) -> float | None:
        """What losses are multiplied by to stand in nats of a cross-entropy; None: not known yet."""
        scale = self._loss_scale
        return math.log(self.facts.num_classes) / scale if isinstance(scale, float) else None

    def _take(self, progress: float | None, given: dict[str, Number]) -> None:
        assert progress is not None  # needs_progress
        covered = max(progress - self._at_call, 0.0)
        advance = progress - self._at_decision
        self._at_call = max(self._at_call, progress)
        # Boundaries rounded to whole steps are less than one step closer than 1/decisions of the run.
        slack = 0.5 * covered
        if self.total_steps is not None:
            slack = max(slack, (1.0 - 1e-6) / self.total_steps)
        due = advance > 0 and advance + slack >= 1.0 / self.decisions - 1e-12
        self._collector.add(given, covered, read_now=due)
        if due:
            self._decision(progress)
        else:
            self._set(self._value)

    def _decision(self, progress: float) -> None:
        """Reads the signals of the interval that ends here, and sets λ for the next one."""
        signals = self._collector.read()
        watched = self._with_weights(signals)
        if self._over_ranks:
            means = mean_over_ranks([watched.get(name) for name in _WATCHED])
            watched = {name: value for name, value in zip(_WATCHED, means, strict=True) if value is not None}
            signals.update((name, value) for name, value in watched.items() if name in signals)
        absent = [name for name in ("train_loss", "val_loss") if name not in watched]
        if absent and progress < 1.0:
            self._warn_once(
                "losses", f"{' and '.join(absent)} not given; λ is held until there are both losses"
            )
            self._set(self._value)
            return
        self._collector.clear()
        self._at_decision = progress
        self._set(self._value if absent else self._judge(progress, watched))
        self.history.append({**signals, "progress": progress, "lam": self._value})

    def _with_weights(self, signals: dict[str, float]) -> dict[str, float]:
        """The signals with norm, penalty and learning rate, measured where they were not given."""
        watched = {name: signals[name] for name in _WATCHED if name in signals}
        if self.groups is not None:
            watched.setdefault("lr_ratio", self.groups.lr_ratio())
            if "weight_norm" not in signals or "penalty" not in signals:
                norm, total = self.groups.norms()
                watched.setdefault("weight_norm", norm)
                watched.setdefault("penalty", self.value * total)
            return watched
        norm = watched.get("weight_norm", math.nan)
        total = self._last["penalty_sum"]
        if self.policy.card.penalty == "l2" and math.isfinite(norm):
            total = 0.5 * norm * norm
        watched.setdefault("weight_norm", self._last["weight_norm"])
        watched.setdefault("lr_ratio", self._last["lr_ratio"])
        watched.setdefault("penalty", self.value * total)
        return watched

    def _judge(self, progress: float, watched: dict[str, float]) -> float:
        """The next λ; that in force if the signals are not to be believed."""
        if not self._safety.sound(watched):
            return self.value
        if isinstance(self._loss_scale, str) and watched["train_loss"] > 0:
            self._loss_scale = watched["train_loss"]
        unit = self._unit()
        if unit is None:
            self._warn_once("scale", "the first training loss is 0, losses cannot be scaled; λ is held")
            return self.value
        self._last = {
            "weight_norm": watched["weight_norm"],
            "lr_ratio": watched["lr_ratio"],
            "penalty_sum": watched["penalty"] / self.value,
        }
        chance = 1.0 / self.facts.num_classes
        inferred = []
        for part in ("train", "val"):
            if f"{part}_accuracy" not in watched:
                left = min(watched[f"{part}_loss"] * unit / math.log(self.facts.num_classes), 1.0)
                watched[f"{part}_accuracy"] = chance + (1.0 - chance) * (1.0 - left)
                inferred.append(f"{part}_accuracy")
        if inferred and self._classes_known:
            self._warn_once("accuracy", f"not given: {', '.join(inferred)}; inferred from the loss")
        signals = Signals(
            progress=progress,
            log_lam=self._log_lam,
            train_loss=watched["train_loss"] * unit,
            val_loss=watched["val_loss"] * unit,
            train_accuracy=watched["train_accuracy"],
            val_accuracy=watched["val_accuracy"],
            weight_norm=watched["weight_norm"],
            penalty=watched["penalty"] * unit / self.factor,
            lr_ratio=watched["lr_ratio"],
        )
        observation = self.policy.select(self.observer.observe_one(signals))
        if progress >= 1.0 or self._safety.far(observation):
            return self.value
        return self._decide(observation)

    def _decide(self, observation: npt.NDArray[np.float32]) -> float:
        """λ after the policy's action on what it reads of one observation."""
        action = float(self.policy.act(observation)[0])
        if not math.isfinite(action):
            self._warn_once("action", "the policy's action is not finite; λ is held")
            action = 0.0
        self._log_lam = self._safety.within(self.control.apply(self._log_lam, action), action)
        return 10.0**self._log_lam * self.factor

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as plain values; the policy itself only by its fingerprint.

        Signals that are tensors of calls since the last decision are read, which waits for their device.
        """
        return {
            **super().state_dict(),
            "log_lam": self._log_lam,
            **self._safety.state_dict(),
            "factor": self.factor,
            "loss_scale": self._loss_scale,
            "last": dict(self._last),
            "pending": self._collector.state_dict(),
            "at_call": self._at_call,
            "at_decision": self._at_decision,
            "facts": dict(vars(self.facts)),
            "observer": self.observer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the state was taken; the policy must be the same one."""
        super().load_state_dict(state)
        self._log_lam = float(state["log_lam"])
        self._safety.load_state_dict(state)
        self.factor = float(state["factor"])
        self.lam_range = self._range()
        self._loss_scale = state["loss_scale"]
        self._last = dict(state["last"])
        self._collector.load_state_dict(state["pending"])
        self._at_call, self._at_decision = float(state["at_call"]), float(state["at_decision"])
        self.facts = RunFacts(**state["facts"])
        self.observer.load_state_dict(state["observer"])


def _check_scale(scale: LossScale, classes_known: bool) -> LossScale:
    if scale is None:
        return "cross-entropy" if classes_known else "start"
    if isinstance(scale, str):
        if scale not in ("cross-entropy", "start"):
            raise ValueError(f'loss_scale must be "cross-entropy", "start" or a number, got {scale!r}')
        if scale == "cross-entropy" and not classes_known:
            raise ValueError('loss_scale="cross-entropy" needs num_classes')
        return scale
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"loss_scale must be finite and above 0, got {scale}")
    return float(scale)
