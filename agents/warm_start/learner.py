"""The warm start itself: rounds of playing tasks and fitting the actor to what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from lambda_rl.agents.warm_start.actor import Arrays, Moments, TorchActor
from lambda_rl.agents.warm_start.config import WarmStartConfig
from lambda_rl.agents.warm_start.episodes import Episodes
from lambda_rl.agents.warm_start.imitation import Experience, fit
from lambda_rl.agents.warm_start.players import Job, Players
from lambda_rl.agents.warm_start.selection import Selection, Verdict

SETTLED = 12
"""Rounds after which the mean and variance of observations stay as they are."""


@dataclass
class Round:
    """What a round came to.

    Attributes:
        number: 1 for the first.
        tasks: played so far.
        regret: mean regret of what the actor chose when fitted, points (weighted and capped).
        own: mean regret of the actor's own runs against the best constant beside them.
        verdict: on the validation tasks, if they were played.
    """

    number: int
    tasks: int
    regret: float
    own: float
    verdict: Verdict | None = None


class Learner:
    """An actor and all that it has seen.

    Args:
        config: see there.
        features: names of what the actor observes.
    """

    def __init__(self, config: WarmStartConfig, features: tuple[str, ...]) -> None:
        self.config, self.features = config, features
        self.generator = torch.Generator().manual_seed(config.seed)
        self.actor = TorchActor(len(features), config.hidden, self.generator)
        self.optimizer = torch.optim.Adam(self.actor.parameters(), lr=config.imitation.learning_rate)
        self.experience = Experience(config.control.max_change, config.imitation)
        self.moments = Moments(len(features))
        self.rounds = 0
        self.sent = self.actor.arrays()  # the actor that plays the next round

    def jobs(self, number: int) -> list[Job]:
        """The tasks of a round; all that is random in them comes from the seed and the number."""
        config = self.config
        branch = config.branch if number >= config.branch_after * config.rounds else 0.0
        return [Job((config.seed, number, i), branch=branch) for i in range(config.tasks)]

    def learn(self, played: list[Episodes]) -> Round:
        """Takes in a round of episodes and fits the actor."""
        own = []
        for each in played:
            self.experience.add(each)
            if each.hold_from == 0:
                own.append(100.0 * (each.curve.max() - each.accuracy[each.constants]))
            if self.rounds < SETTLED:
                self.moments.update(each.observations[:, each.constants :][each.alive[:, each.constants :]])
        if self.rounds < SETTLED:
            self.actor.normalise(self.moments)
        share = self.rounds / max(self.config.rounds - 1, 1)
        rate = self.config.imitation.learning_rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        regret = fit(self.actor, self.optimizer, self.experience, self.features, self.generator)
        self.rounds += 1
        return Round(self.rounds, len(self.experience), regret, sum(own) / max(len(own), 1))

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on bit for bit."""
        return {
            "actor": self.actor.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "moments": [torch.from_numpy(self.moments.mean), torch.from_numpy(self.moments.var), self.moments.count],
            "experience": self.experience.state_dict(),
            "rounds": self.rounds,
            "sent": {name: torch.from_numpy(value) for name, value in self.sent.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        self.actor.load_state_dict(state["actor"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        mean, var, count = state["moments"]
        self.moments.mean, self.moments.var, self.moments.count = mean.numpy(), var.numpy(), float(count)
        self.experience.load_state_dict(state["experience"])
        self.rounds = int(state["rounds"])
        self.sent = {name: value.numpy() for name, value in state["sent"].items()}


def run(
    learner: Learner, players: Players, selection: Selection | None, tell: Callable[[Round, Arrays], None]
) -> None:
    """All rounds from where the learner stands.

    While the actor is fitted to one round, the next one is played with the actor as it was: with the same seed the
    numbers are the same, however many processes there are.

    Args:
        learner: is trained.
        players: play.
        selection: judges the actor now and then; None: never.
        tell: called after each round, with the actor.
    """
    config = learner.config
    waiting = players.begin(learner.jobs(learner.rounds), learner.sent)
    while learner.rounds < config.rounds:
        played = list(waiting())
        learner.sent = learner.actor.arrays()
        if learner.rounds + 1 < config.rounds:
            waiting = players.begin(learner.jobs(learner.rounds + 1), learner.sent)
        done = learner.learn(played)
        final = learner.rounds >= config.rounds
        if selection is not None and (final or learner.rounds % config.eval_every == 0):
            done.verdict = selection.judge(learner.actor.arrays())
        tell(done, learner.actor.arrays())
