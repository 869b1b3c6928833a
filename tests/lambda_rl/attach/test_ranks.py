"""Processes that train one network: they notice when their schedules are not the same, and stay out of others' way."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from lambda_rl import LearnedSchedule, Policy, PolicyCard, RunFacts, policy_from_arrays
from lambda_rl.control import ControlLaw
from lambda_rl.observation import FEATURES

FACTS = RunFacts(num_train=500, num_params=72, val_size=100, num_classes=4, epochs=13.0, lr_sum=10.0)


def policy(seed: int = 0) -> Policy:
    rng = np.random.default_rng(seed)
    return policy_from_arrays(
        obs_mean=np.zeros(len(FEATURES)),
        obs_var=np.ones(len(FEATURES)),
        layers=[(0.2 * rng.normal(size=(1, len(FEATURES))), np.zeros(1))],
        card=PolicyCard(knobs=(ControlLaw().knob,), decisions=10),
    )


def make(**change: Any) -> LearnedSchedule:
    return LearnedSchedule(**{"policy": policy(), "facts": FACTS, "weight_norm": 3.0, **change})


def step(schedule: LearnedSchedule, progress: float, **change: float) -> float:
    signals = {"train_loss": 1.2, "val_loss": 1.3, "train_accuracy": 0.4, "val_accuracy": 0.3, **change}
    return schedule.step(progress=progress, **signals)


def said(attempt: Callable[[], object]) -> str:
    """The error that an attempt ends in."""
    try:
        attempt()
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def disagreements(rank: int) -> dict[str, str]:
    """What each rank hears when the two differ."""
    heard = {
        "policy": said(lambda: make(policy=policy(rank))),
        "facts": said(lambda: make(facts=RunFacts(**{**vars(FACTS), "num_train": 500 + rank}))),
        "decisions": said(lambda: make(decisions=10 + rank)),
    }
    rhythm = make()
    step(rhythm, 0.1)
    heard["progress"] = said(lambda: step(rhythm, 0.2 + 0.05 * rank))
    alone = make(distributed=False)
    step(alone, 0.1, train_loss=1.0 + rank)
    state = make()
    state.load_state_dict(alone.state_dict())
    heard["λ"] = said(lambda: step(state, 0.2))
    return heard


def between_gradients(rank: int) -> float:
    """A decision while a reduction of the default group is on its way, as gradients are; begun before or after it."""
    schedule, gradients = make(), torch.full((1000,), float(rank))
    if rank:
        work = dist.all_reduce(gradients, async_op=True)
        step(schedule, 0.1)
    else:
        step(schedule, 0.1)
        work = dist.all_reduce(gradients, async_op=True)
    work.wait()
    assert gradients.tolist() == [1.0] * 1000
    return schedule.value


def copies(rank: int) -> list[float]:
    """λ of a schedule, of a copy and of one that went through a pickle, two decisions on."""
    original = make()
    step(original, 0.1, train_loss=1.0 + rank)
    found = [original, copy.deepcopy(original), pickle.loads(pickle.dumps(original))]
    return [step(schedule, 0.2, val_loss=1.0 + rank) for schedule in found]


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    result: dict[str, Any] = {
        "heard": disagreements(rank), "between": between_gradients(rank), "copies": copies(rank),
    }  # fmt: skip
    left = make()
    if rank == 0:
        result["left"] = said(lambda: step(left, 0.1))  # the other one does not come any more
    # As torch asks of every program: with groups left, gloo's threads now and then abort the process at its exit.
    dist.destroy_process_group()
    result["kept"] = [group() is not None for group in (left._ranks._world, left._ranks._group) if group]
    torch.save(result, f"{folder}/rank{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(worker, (str(folder),), nprocs=2)
    return [torch.load(Path(folder) / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            "policy",
            "ValueError: each rank must make the schedule with the same arguments; they differ in policy ",
        ),
        ("facts", "they differ in num_train, facts "),
        ("decisions", "they differ in decisions "),
        ("progress", "ValueError: the ranks do not agree on progress: 0.2 to 0.25. Each must"),
        ("λ", "ValueError: the ranks do not agree on λ: "),
    ],
)
def test_ranks_that_differ_are_all_told(ranks: list[dict[str, Any]], what: str, message: str) -> None:
    """Unnoticed, each would write its own λ, and the copies of the network would drift apart."""
    for rank in ranks:
        assert message in rank["heard"][what]


def test_decisions_do_not_get_between_the_gradients_of_others(ranks: list[dict[str, Any]]) -> None:
    """In one group with them, what comes first on one rank meets what comes first on the other."""
    assert ranks[0]["between"] == ranks[1]["between"]


def test_copied_schedules_still_agree(ranks: list[dict[str, Any]]) -> None:
    assert ranks[0]["copies"] == ranks[1]["copies"]
    assert len(set(ranks[0]["copies"])) == 1


def test_a_rank_that_does_not_come_is_named_as_the_reason(ranks: list[dict[str, Any]]) -> None:
    assert ranks[0]["left"].startswith("RuntimeError: not every rank came to the schedule's step()")


def test_a_schedule_keeps_no_group_alive_that_its_program_has_destroyed(ranks: list[dict[str, Any]]) -> None:
    """Torn down while the interpreter ends, a thread of gloo aborted one program in six under load."""
    assert [rank["kept"] for rank in ranks] == [[False, False]] * 2
