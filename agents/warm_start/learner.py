"""The warm start itself: rounds of playing tasks and fitting the actor to what they cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd

from lambda_rl.agents.warm_start.actor import Arrays, TorchActor, actor_of
from lambda_rl.agents.warm_start.committee import committee
from lambda_rl.agents.warm_start.config import WarmStartConfig
from lambda_rl.agents.warm_start.episodes import Episodes, landscape
from lambda_rl.agents.warm_start.imitation import Experience, cosine, fit, set_rate
from lambda_rl.agents.warm_start.players import Job, Players
from lambda_rl.agents.warm_start.reinforce import Reinforcer
from lambda_rl.agents.warm_start.selection import Selection, Verdict

SETTLED = 12
"""Rounds after which the mean and variance of observations stay as they are."""


@dataclass
class Round:
    """What a round came to.

    Attributes:
        regret: mean regret of what the actor chose when fitted, points (weighted and capped).
        own: mean regret of the actor's own runs against the best constant beside them; in reinforcement, of the mean
            copy against the best one.
        number: 1 for the first.
        tasks: with curves, so far.
        verdict: on the validation tasks, if they were played.
        landscapes: of each task whose constants were held from the start, a row of facts and final accuracies.
    """

    regret: float
    own: float
    number: int = 0
    tasks: int = 0
    verdict: Verdict | None = None
    landscapes: list[dict[str, Any]] = field(default_factory=list)


class Learner:
    """An actor and all that it has seen.

    Args:
        config: see there.
        features: names of what the actor observes.
    """

    def __init__(self, config: WarmStartConfig, features: tuple[str, ...]) -> None:
        self.config, self.features = config, features
        self.generator = torch.Generator().manual_seed(config.seed)
        self._take(TorchActor(len(features), config.hidden, self.generator))
        self.experience = Experience(config.control.max_change, config.imitation)
        self.moments = RunningMeanStd(epsilon=0.0, shape=(len(features),))
        self.reinforcer: Reinforcer | None = None
        self.rounds, self.promoted = 0, False
        self.sent = self.actor.arrays()  # the actor that plays the next round

    def _take(self, actor: TorchActor) -> None:
        options = self.config.imitation
        self.actor = actor
        self.optimizer = torch.optim.AdamW(
            actor.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )

    def take_in(self, state: dict[str, Any]) -> None:
        """Adds what another learner has seen.

        Args:
            state: its :meth:`state_dict`.
        """
        self.experience.extend(state["experience"])
        mean, var, count = state["moments"]
        self.moments.update_from_moments(mean.numpy(), var.numpy(), float(count))
        self.actor.normalise(self.moments)
        self.sent = self.actor.arrays()

    def promote(self) -> None:
        """Puts the committee in the actor's place: it is what reinforcement improves, and what is handed on."""
        config = self.config
        self._take(
            actor_of(committee(config.committee, self.experience, self.features, self.moments, config.seed))
        )
        self.sent, self.promoted = self.actor.arrays(), True

    @property
    def all_rounds(self) -> int:
        """Of the warm start and of reinforcement."""
        return self.config.rounds + self.config.reinforce.rounds

    def reinforces(self, number: int) -> bool:
        """Whether a round belongs to reinforcement, after the warm start."""
        return number >= self.config.rounds

    def jobs(self, number: int) -> list[Job]:
        """The tasks of a round; all that is random in them comes from the seed and the number."""
        config = self.config
        if self.reinforces(number):
            more = config.reinforce
            return [
                Job((config.seed, number, i), constants=(), copies=more.copies, noise=more.noise)
                for i in range(more.tasks)
            ]
        branch = config.branch if number >= config.branch_after * config.rounds else 0.0
        return [Job((config.seed, number, i), branch=branch) for i in range(config.tasks)]

    def learn(self, played: list[Episodes]) -> Round:
        """Takes in a round of episodes and improves the actor."""
        done = self._reinforce(played) if self.reinforces(self.rounds) else self._imitate(played)
        self.rounds += 1
        done.number, done.tasks = self.rounds, len(self.experience)
        return done

    def _imitate(self, played: list[Episodes]) -> Round:
        config, own = self.config, []
        for each in played:
            self.experience.add(each)
            if each.hold_from == 0:
                own.append(100.0 * (each.curve.max() - each.accuracy[each.constants]))
            if self.rounds < SETTLED:
                seen = each.observations[:, each.constants :][each.alive[:, each.constants :]]
                self.moments.update(seen.astype(np.float64))
        if self.rounds < SETTLED:
            self.actor.normalise(self.moments)
        share = min(self.rounds / max(config.rounds - 1, 1), 1.0)
        set_rate(self.optimizer, config.imitation.learning_rate * cosine(share, 0.1))
        regret = self._fit(config.imitation.steps)
        whole = [landscape(each) for each in played if each.hold_from == 0]
        return Round(regret, sum(own) / max(len(own), 1), landscapes=whole)

    def _reinforce(self, played: list[Episodes]) -> Round:
        more = self.config.reinforce
        if self.reinforcer is None:
            self.reinforcer = Reinforcer(self.actor, more, self.config.seed)
        left = 1.0 - (self.rounds - self.config.rounds) / more.rounds
        self.reinforcer.update(played, left)
        set_rate(self.optimizer, 0.1 * self.config.imitation.learning_rate)
        regret = self._fit(more.anchor)
        points = [100.0 * (each.accuracy.max() - each.accuracy.mean()) for each in played]
        return Round(regret, sum(points) / len(points))

    def _fit(self, steps: int) -> float:
        states = self.experience.states()
        return fit(self.actor, self.optimizer, states, self.features, self.generator, steps)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on bit for bit."""
        return {
            "actor": self.actor.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "moments": [
                torch.from_numpy(self.moments.mean),
                torch.from_numpy(self.moments.var),
                self.moments.count,
            ],
            "experience": self.experience.state_dict(),
            "rounds": self.rounds,
            "promoted": self.promoted,
            "sent": {name: torch.from_numpy(value) for name, value in self.sent.items()},
            "reinforcer": None if self.reinforcer is None else self.reinforcer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        self._take(actor_of({name: value.numpy() for name, value in state["actor"].items()}))
        self.promoted = bool(state["promoted"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        mean, var, count = state["moments"]
        self.moments.mean, self.moments.var, self.moments.count = mean.numpy(), var.numpy(), float(count)
        self.experience.load_state_dict(state["experience"])
        self.rounds = int(state["rounds"])
        self.sent = {name: value.numpy() for name, value in state["sent"].items()}
        if state["reinforcer"] is not None:
            self.reinforcer = Reinforcer(self.actor, self.config.reinforce, self.config.seed)
            self.reinforcer.load_state_dict(state["reinforcer"])


Tell = Callable[[Round, Arrays], None]
"""Called after each round, with the actor."""


def warm_start(learner: Learner, players: Players, selection: Selection, tell: Tell) -> None:
    """Rounds of the warm start, from where the learner stands.

    While the actor is fitted to one round, the next one is played with the actor as it was: with the same seed the
    numbers are the same, however many processes there are.

    Args:
        learner: is trained.
        players: play.
        selection: judges the actor now and then.
        tell: see :data:`Tell`.
    """
    config, total = learner.config, learner.config.rounds
    waiting = players.begin(learner.jobs(learner.rounds), learner.sent) if learner.rounds < total else None
    while waiting is not None:
        played, following = list(waiting()), learner.rounds + 1
        learner.sent = learner.actor.arrays()
        waiting = players.begin(learner.jobs(following), learner.sent) if following < total else None
        done = learner.learn(played)
        if learner.rounds == total or learner.rounds % config.eval_every == 0:
            done.verdict = selection.judge(learner.actor.arrays())
        tell(done, learner.actor.arrays())


def reinforcement(learner: Learner, players: Players, selection: Selection, tell: Tell) -> None:
    """Rounds of reinforcement, each played with the actor that it improves; arguments as for :func:`warm_start`."""
    config, total = learner.config, learner.all_rounds
    while learner.rounds < total:
        learner.sent = learner.actor.arrays()
        done = learner.learn(list(players.begin(learner.jobs(learner.rounds), learner.sent)()))
        if learner.rounds == total or (learner.rounds - config.rounds) % config.eval_every == 0:
            done.verdict = selection.judge(learner.actor.arrays())
        tell(done, learner.actor.arrays())
