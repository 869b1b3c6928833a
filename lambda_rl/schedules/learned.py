"""The learned schedule: a policy file in a training loop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import nn
from torch.optim import Optimizer

from lambda_rl.arguments import real_number
from lambda_rl.attach.distributed import Ranks
from lambda_rl.attach.further_knobs import FurtherKnobs
from lambda_rl.first_look.setting import own_decay, strong_decay
from lambda_rl.knobs import KAPPA
from lambda_rl.observation import Observer, RunFacts
from lambda_rl.observation.collector import Number
from lambda_rl.policy.actor import Policy
from lambda_rl.policy.file import as_policy
from lambda_rl.policy.meaning import converted, meanings_of_run, must_convert
from lambda_rl.policy.unit import Unit, declared_steps
from lambda_rl.schedules.base import SIGNALS, Schedule
from lambda_rl.schedules.guard import Guard
from lambda_rl.schedules.guard.trust import TrustOption, trust_region
from lambda_rl.schedules.loss_scale import LossScale, LossScaleOption
from lambda_rl.schedules.rhythm import Rhythm
from lambda_rl.schedules.run_description import RunDescription
from lambda_rl.schedules.safety import Safety
from lambda_rl.schedules.watcher import WATCHED, Watcher, signals_of
from lambda_rl.seeing.words import Row


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

    **Signals** of ``step()``: the four of :class:`~lambda_rl.schedules.base.Schedule`, and ``weight_norm`` (Euclidean
    norm of the penalised weights), ``penalty`` (λ · R(w), with the λ that was in force) and ``lr_ratio``
    (learning rate over its start). With an optimizer the last three are measured on its groups with decay,
    unless given; without one they keep their last value (``penalty`` follows from ``weight_norm`` for L2). Both
    losses are needed: a decision that is due without one of them waits until it is there. A missing accuracy (a
    regression, or none measured on training minibatches) is inferred from its own loss: from chance, where the
    loss is as at the start, in proportion to 1, where it is 0.

    **Loss**: what guessing gets must be known. For cross-entropy it is log(``num_classes``). Without
    ``num_classes`` the first training loss stands for it (``loss_scale="start"``); better give the number, such
    as the variance of the targets for a squared error: ``loss_scale=2.5``. λ itself is not rescaled.

    **Decay budget**: a policy that moves κ gives λ = κ / ``lr_sum``, whatever the optimizer and its decay: the peak
    learning rate times ``total_steps``, over 1 - momentum for SGD, unless it is told; make a learning rate scheduler
    before the schedule, so that it is known. Where the length of the run is not known, ``horizon`` declares one: κ is
    then by how many e-foldings decay would shrink the weights in so many steps. Beyond it progress stays 1, and the
    policy goes on deciding in its rhythm.

    **Safety** (:mod:`~.safety` has the numbers): λ stays in the policy's range, and the last one is held, with one
    warning for each reason, where signals cannot be what they are said to be, the run is far outside training, the
    action is not finite, or the policy asks for a λ above the range too long. Knobs beside λ are held with it.
    **Guard** (:mod:`~.guard` has the rules): κ falls where the loss stays at chance or decay undoes what was learned,
    rises where validation falls from its best, and stays moderate where nothing overfits. The environment has neither
    safety nor guard; :mod:`lambda_rl.agents.warm_start` trains with the guard, comparisons judge with both.
    :attr:`history` has the λ that the policy ``asked`` for (None: it was not asked), and the rule that ``held`` λ
    otherwise; empty if none did.

    **Several processes** (``torch.distributed`` initialised before the schedule is made): signals are averaged over
    the ranks that have them with one small ``all_gather`` a decision, so every rank must make the schedule with the
    same arguments and call ``step()`` at the same progress; else all are refused.

    Args:
        optimizer: one, several or none; its decay must mean what the policy's λ means, see ``lam_meaning``.
        policy: a policy, the name of a shipped one, or the path of a policy file; None: the default shipped one.
        total_steps: optimizer steps of the whole run.
        horizon: in place of ``total_steps``, a guess of them, for a run that may stop earlier or go on for longer; only
            of policies that move κ.
        facts: what is known before the run. Without it, an optimizer, ``total_steps`` and if possible the next
            five are needed; those of ``num_train``, ``val_size`` and ``batch_size`` that are missing are taken
            to be as on average in the policy's training, with one warning.
        num_train: training examples.
        val_size: validation examples that the signals are measured on.
        num_classes: classes; None: the loss is not a cross-entropy.
        batch_size: examples a step, over all processes.
        lr_sum: effective learning rate summed over the run, see :class:`lambda_rl.RunFacts`; None: as if the
            learning rate stayed as at the start (of a policy that moves κ: as at its peak).
        model: what is trained, so that the policy is told whether it has layers that normalise, and knobs such as
            dropout are turned there; None: what the parameters of the optimizer say of it, before they are trained.
        initial_lam: λ that the first decision changes, before the guard; clipped to the policy's range. None: the
            card's, else the geometric middle of the range.
        weight_norm: norm of the initial penalised weights; needed without an optimizer.
        penalty_sum: R(w) at the start, without λ; needed only without an optimizer for a penalty other than L2.
        lam_meaning: for a run of the other meaning. The policy's own meaning uses λ unconverted (right
            for plain SGD, where both are the same). "convert" multiplies λ, and its range, by a constant such
            that λ · ``lr_sum``, the shrinking over the whole run, is that of an average run of the policy's
            training. None: another meaning is refused. A policy that moves κ fits all, and needs none.
        decay: what λ means in this run, "coupled" (SGD, Adam) or "decoupled" (AdamW). None: what the optimizer says;
            without an optimizer, what the policy's λ means.
        decisions: K, decisions in the run; None: as many as the policy was trained with.
        loss_scale: "cross-entropy", "start" or the loss of guessing, above 0; None: "cross-entropy" if the
            number of classes is known, else "start".
        distributed: "auto" averages over ranks if there are any; False: this process on its own.
        guard: whether the guard may bound κ; None: for policies that move κ.
        trust: keeps λ near the ``weight_decay`` that the optimizer was made with, see
            :mod:`~lambda_rl.schedules.guard.trust`: within so many decades, more as it earns them; "auto": one decade,
            if there is a decay. None: it is free.
        verbose: prints a line for each decision.

    Raises:
        PolicyFileError: the policy file cannot be used.
        ValueError: facts missing, another meaning of λ, a penalty that weight decay cannot be, or an option
            outside of what is said above.
    """

    asks = tuple(name for name in WATCHED if name not in SIGNALS)
    _asked: float | None = None  # λ of the decision under way, before any rule but the range
    _held = ""  # the rule that has it otherwise

    def __init__(  # noqa: PLR0913 - public: a run is described by keywords
        self,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        policy: Policy | str | Path | None = None,
        total_steps: int | None = None,
        horizon: int | None = None,
        facts: RunFacts | None = None,
        num_train: int | None = None,
        val_size: int | None = None,
        num_classes: int | None = None,
        batch_size: int | None = None,
        lr_sum: float | None = None,
        model: nn.Module | None = None,
        initial_lam: float | None = None,
        weight_norm: float | None = None,
        penalty_sum: float | None = None,
        lam_meaning: str | None = None,
        decay: str | None = None,
        decisions: int | None = None,
        loss_scale: LossScaleOption = None,
        distributed: Literal["auto", False] = "auto",
        guard: bool | None = None,
        trust: TrustOption = None,
        verbose: bool = False,
    ) -> None:
        self.policy, self.verbose = as_policy(policy), verbose
        card, self.control = self.policy.card, self.policy.card.lam_control
        self._ranks, self._open_ended = Ranks(distributed), horizon is not None
        super().__init__(optimizer, total_steps=declared_steps(self.policy, total_steps, horizon))
        self._rhythm = Rhythm(card.decisions if decisions is None else decisions, self.total_steps)
        meanings = meanings_of_run(self.policy, decay, self.groups.meanings() if self.groups else None)
        converting = must_convert(self.policy, lam_meaning, meanings, self._warn_once)
        steps = self.total_steps
        run = RunDescription(steps, facts, num_train, val_size, num_classes, batch_size, lr_sum, model)
        facts = run.facts_for(self.policy, self.groups, self._warn_once)
        run.look_at(facts, self.policy, self._note)
        self.factor, self.facts = converted(facts, self.policy) if converting else (1.0, facts)
        self._use_unit()
        self._loss_scale = LossScale(loss_scale, facts.num_classes, run.classes_known)
        given = None if initial_lam is None else real_number("initial_lam", initial_lam, more=True)
        start = given or card.initial_lam
        self._config = {"policy": self.policy.fingerprint, "decisions": self.decisions}
        said = {"lam_meaning": lam_meaning, "initial_lam": start, "loss_scale": self._loss_scale.told}
        self._told = {**said, "decay": " and ".join(sorted(meanings)) or None, **run.told()}
        guarded = self._moves_kappa if guard is None else guard
        newer = {"guard": guarded or None, "trust": trust}  # states of before had neither
        self._told.update((name, value) for name, value in newer.items() if value is not None)
        if self._ranks.several:
            self._ranks.agree({**self._agreed(), "facts": vars(facts)})
        self._log_lam = self._unit.first(start, told=given is not None)
        self._safety = Safety(self.policy, self._log_lam, self._hold, self._unit.offset)
        self._watcher = Watcher(self.groups, self._ranks, weight_norm, penalty_sum, card)
        region = trust_region(trust, own_decay(self.groups), self.facts.decay_sum / self.factor)
        self._guard = Guard(self.facts, self._watcher.weight_norm, self._warn_once, on=guarded, trust=region)
        self._further = FurtherKnobs(card.controls[1:], self.groups.optimizers if self.groups else (), model)
        self.observer = Observer(1, self.control, card.features, card.knobs[1:])
        self._start(self._decide(self._first_observation()))
        self._note("strong", strong_decay(self._value, facts.lr_sum, steps) if converting else "")

    # ---- construction

    @property
    def decisions(self) -> int:
        """K, decisions in the run."""
        return self._rhythm.decisions

    @property
    def _moves_kappa(self) -> bool:
        return self.policy.card.unit == KAPPA

    def _use_unit(self) -> None:
        self._unit = Unit(self.policy, self.facts.decay_sum, self.factor)
        self.lam_range = self._unit.lam_range()

    def _first_observation(self) -> npt.NDArray[np.float32]:
        """What the policy reads before the first interval."""
        return self.observer.reset(
            0,
            self.facts,
            log_lam=self._log_lam,
            weight_norm=self._watcher.weight_norm,
            penalty=10.0**self._log_lam * self._watcher.penalty_sum * (self._loss_scale.unit or 1.0),
            log_knobs=self._further.log_values,
        )

    def _take(self, progress: float | None, given: dict[str, Number]) -> None:
        assert progress is not None  # needs_progress
        covered, due = self._rhythm.call(progress)
        self._watcher.add(given, covered, read_now=due)
        if due:
            self._decision(progress)
        else:
            self._keep()

    def _decision(self, progress: float) -> None:
        """Reads the signals of the interval that ends here, and sets λ for the next one."""
        signals, watched = self._watcher.read(self.value, progress)
        absent = [name for name in ("train_loss", "val_loss") if name not in watched]
        if absent and not self._over(progress):
            self._warn_once(
                "losses", f"{' and '.join(absent)} not given; λ is held until there are both losses"
            )
            self._set(self._value)
            return
        self._watcher.clear()
        self._rhythm.decided(progress)
        self._set(self._value if absent else self._judge(progress, watched))
        self._record(self._row(progress, signals))

    def _over(self, progress: float) -> bool:
        return progress >= 1.0 and not self._open_ended

    def _judge(self, progress: float, watched: dict[str, float]) -> float:
        """The next λ; that in force if the signals are not to be believed."""
        if not self._safety.sound(watched):
            return self.value
        self._loss_scale.see(watched["train_loss"])
        unit = self._loss_scale.unit
        if unit is None:
            self._hold("scale", "the first training loss is 0, losses cannot be scaled; λ is held")
            return self.value
        self._watcher.believe(watched, self.value)
        measured = "val_accuracy" in watched
        if inferred := self._loss_scale.infer_accuracies(watched):
            self._warn_once("accuracy", f"not given: {', '.join(inferred)}; inferred from the loss")
        signals = signals_of(
            watched, progress=progress, log_lam=self._log_lam, unit=unit, factor=self.factor,
            log_knobs=self._further.log_values,
        )  # fmt: skip
        self._guard.see(signals, inferred=not measured)
        observation = self.observer.observe_one(signals)
        if self._over(progress):
            return self.value
        return self._guarded(self._log_lam) if self._safety.far(observation) else self._decide(observation)

    def _decide(self, observation: npt.NDArray[np.float32]) -> float:
        """λ after the policy's action on what it reads of one observation; other knobs move with it, or are held."""
        actions = [float(action) for action in self.policy.act(observation)]
        if not all(map(math.isfinite, actions)):
            self._hold("action", "the policy's action is not finite; λ is held")
            actions = [0.0] * len(actions)
        action, *others = actions
        asked = self._unit.after(self._log_lam, action)
        self._asked = 10.0**asked * self.factor
        log_lam = self._safety.within(asked, action)
        if not self._safety.holding:
            self._further.move(others)
        return self._guarded(log_lam)

    def _guarded(self, log_lam: float) -> float:
        """λ of the run for one of the policy, within the guard's bounds."""
        bounded = self._unit.clip(self._guard.within(log_lam))
        self._held = self._guard.held_by or self._held
        # what bounds λ before much was seen is forgotten: the policy goes on as if it had got what it asked for
        self._log_lam = log_lam if self._guard.opening else bounded
        return 10.0**bounded * self.factor

    @property
    def kappa(self) -> float:
        """The decay budget κ = λ · ``facts.lr_sum`` that is in force now."""
        return self.value / self.factor * self.facts.decay_sum

    def _hold(self, reason: str, text: str) -> None:
        """Remembers the rule that holds λ, and says so once."""
        self._held = reason
        self._warn_once(reason, text)

    def _row(self, progress: float | None, signals: Mapping[str, float]) -> Row:
        asked, held, self._asked, self._held = self._asked, self._held, None, ""
        more: Row = {"kappa": self.kappa} if self._moves_kappa else {}
        return {**super()._row(progress, signals), **more, "asked": asked, "held": held}

    def _title(self) -> str:
        return f"LearnedSchedule({self.policy.name or self.policy.fingerprint}, {self.decisions} decisions)"

    @property
    def knobs(self) -> dict[str, float]:
        """Values in force now of knobs beside λ, by name."""
        return self._further.values

    # ---- state

    def _agreed(self) -> dict[str, Any]:
        return {**super()._agreed(), **self._told}

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as plain values; the policy itself only by its fingerprint.

        Signals that are tensors of calls since the last decision are read, which waits for their device.
        """
        return {
            **super().state_dict(),
            **self._safety.state_dict(),
            **self._rhythm.state_dict(),
            **self._watcher.state_dict(),
            **self._guard.state_dict(),
            "log_lam": self._log_lam,
            "log_knobs": dict(self._further.log_values),
            "factor": self.factor,
            "loss_scale": self._loss_scale.state(),
            "facts": dict(vars(self.facts)),
            "observer": self.observer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the state was taken; the policy and all that was said of the run must be the same.

        What was measured when the schedule was made (norm and number of weights, learning rate) is the state's.
        """
        super().load_state_dict(state)
        self._rhythm.load_state_dict(state)
        self._watcher.load_state_dict(state)
        self._log_lam = float(state["log_lam"])
        self._further.load(state["log_knobs"])
        self.factor = float(state["factor"])
        self.facts = RunFacts(**state["facts"])
        self._use_unit()
        self._safety = Safety(self.policy, self._log_lam, self._hold, self._unit.offset)
        self._safety.load_state_dict(state)
        self._guard.load_state_dict(state)
        self._loss_scale.load_state(state["loss_scale"])
        self.observer.load_state_dict(state["observer"])
