"""Which task each slot plays next.

Tasks drawn from a broad suite are mostly unlike each other, so that each would be a stack of one network. Slots may
play them in groups: all slots of a group have the same tasks in the same order, each with seeds of its own, and fill a
stack. An example, of six slots in two groups of three::

    slot       0      1      2      3      4      5
    begins     A/1    A/2    A/3    P/4    P/5    P/6     a task / a seed
    then       B/7    B/8    B/9    Q/10   Q/11   Q/12

A slot whose run is lost goes on with its group's next task, and the others come after.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding

from lambda_rl.envs.tasks.space import MAX_SEED, MIN_SEED
from lambda_rl.envs.tasks.suites import Suite
from lambda_rl.envs.tasks.task import Task


class _Group:
    """Tasks of slots that play alike.

    Args:
        rng: draws them.
        copies: how many slots.
    """

    def __init__(self, rng: np.random.Generator, copies: int) -> None:
        self.rng = rng
        self._tasks: list[Task] = []  # that somebody has still to play
        self._before = [0] * copies  # of these, how many each slot has played

    def next(self, suite: Suite, member: int) -> Task:
        """The member's next task, drawn if it is the first to ask."""
        at = self._before[member]
        if at == len(self._tasks):
            self._tasks.append(suite.sample(self.rng))
        task = self._tasks[at]
        self._before[member] += 1
        played = min(self._before)
        self._tasks, self._before = self._tasks[played:], [before - played for before in self._before]
        return task

    def together(self) -> None:
        """Everybody goes on with a new task."""
        self._tasks, self._before = [], [0] * len(self._before)

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        tasks = [dataclasses.asdict(task) for task in self._tasks]
        return {"rng": json.dumps(self.rng.bit_generator.state), "tasks": tasks, "before": list(self._before)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        self.rng.bit_generator.state = json.loads(state["rng"])
        self._tasks = [Task.from_mapping(task) for task in state["tasks"]]
        self._before = [int(before) for before in state["before"]]


class Dealer:
    """Draws the tasks of N slots.

    Args:
        suite: what they are drawn from.
        num_slots: N.
        copies: slots that play the same tasks; 1: each draws its own.

    Raises:
        ValueError: ``copies`` does not divide N.
    """

    def __init__(self, suite: Suite, num_slots: int, copies: int = 1) -> None:
        if copies < 1 or num_slots % copies:
            raise ValueError(f"copies must divide the {num_slots} slots, got {copies}")
        self._suite, self._copies = suite, copies
        self._rngs = [seeding.np_random()[0] for _ in range(num_slots)]
        firsts = range(0, num_slots, copies) if copies > 1 else ()
        self._groups = [_Group(np.random.default_rng(), copies) for _ in firsts]

    def seed(self, seeds: Sequence[int | None]) -> None:
        """Seeds the slots that have one; a group takes that of its first slot. All begin a new task.

        Raises:
            gymnasium.error.Error: a seed that is none; nothing is changed.
        """
        seeded = [None if one is None else seeding.np_random(one)[0] for one in seeds]
        self._rngs = [new or old for new, old in zip(seeded, self._rngs, strict=True)]
        for group, one in zip(self._groups, seeds[:: self._copies], strict=False):
            group.together()
            if one is not None:
                group.rng = np.random.default_rng([one, self._copies])

    def deal(self, slots: Sequence[int]) -> list[Task]:
        """The next tasks of some slots."""
        return [self._next(slot) for slot in slots]

    def _next(self, slot: int) -> Task:
        rng = self._rngs[slot]
        if not self._groups:
            return self._suite.sample(rng)
        group, member = divmod(slot, self._copies)
        task = self._groups[group].next(self._suite, member)
        return task.with_seed(int(rng.integers(MIN_SEED, MAX_SEED)))

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        state: dict[str, Any] = {"rngs": [json.dumps(rng.bit_generator.state) for rng in self._rngs]}
        return {
            **state,
            **({"groups": [group.state_dict() for group in self._groups]} if self._groups else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave.

        Raises:
            ValueError: it is of slots in other groups.
        """
        groups = state.get("groups", [])
        if len(groups) != len(self._groups):
            raise ValueError(f"state of {len(groups)} groups of slots does not fit {len(self._groups)}")
        for slot, text in enumerate(state["rngs"]):
            self._rngs[slot] = seeding.np_random(0)[0]
            self._rngs[slot].bit_generator.state = json.loads(text)
        for group, saved in zip(self._groups, groups, strict=True):
            group.load_state_dict(saved)
