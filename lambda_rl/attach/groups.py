"""The parameter groups of an optimizer that have decay: writing λ to them, and measuring them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lambda_rl.arguments import real_number
from lambda_rl.attach.architecture import effective_lr, group_meaning, is_adaptive, peak_lr
from lambda_rl.attach.norms import norm_and_half_square
from lambda_rl.checks import shown


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """The optimizer itself, of a wrapper such as that of ``accelerate``, which looks like one but has no hooks."""
    inner = getattr(optimizer, "optimizer", None)
    while isinstance(inner, Optimizer):
        optimizer, inner = inner, getattr(inner, "optimizer", None)
    return optimizer


def _start_decay(optimizer: Optimizer, group: dict[str, Any]) -> float:
    """The decay that a group was made with.

    Raises:
        ValueError: λ cannot be written there, or a number is negative or not finite.
    """
    decay = group.get("weight_decay", 0.0)
    if isinstance(decay, Tensor) and (not decay.is_floating_point() or decay.requires_grad):
        raise ValueError(
            "weight_decay as a tensor, to be filled with λ, must be floating point and not require grad"
        )
    number = real_number("weight_decay of every group", decay)
    mult = real_number("wd_mult of every group", group.get("wd_mult", 0.0))
    # torch takes any key in a group without a word.
    if "weight_decay" not in optimizer.defaults and (number or mult):
        raise ValueError(
            f"{type(optimizer).__name__} has no weight_decay: what is written there would be ignored"
        )
    return number


@dataclass
class _Member:
    """What is remembered of a group.

    Attributes:
        mult: its decay is λ times this; 0: it has none.
        start_lr: its learning rate at the start.
        peak_lr: the largest learning rate that it is known to have, without a warm-up.
        first: its first parameter, by which it is known again.
        written: the decay that was last written to it, if any.
        factor: its ``lam_factor`` then, if it had one.
    """

    mult: float
    start_lr: float
    peak_lr: float
    first: Tensor | None
    written: float | None = None
    factor: float | None = None


def _first(group: dict[str, Any]) -> Tensor | None:
    return group["params"][0] if group["params"] else None


def _holds(group: dict[str, Any], parameter: Tensor | None) -> bool:
    return any(p is parameter for p in group["params"])


class DecayGroups:
    """The groups with decay of one or several optimizers.

    A group is scheduled if its ``weight_decay`` is not 0 at construction, or if it has a ``wd_mult`` other
    than 0. Its decay is then λ · ``wd_mult``; the default of ``wd_mult`` is the group's start decay over the
    largest start decay, so that ratios between groups stay. It is stored in the group, so the optimizer's own
    checkpoint carries it. Nothing is ever written to other groups. A ``lam_factor`` in a group (that of the knob of its
    layer, :class:`lambda_rl.knobs.Layer`) multiplies its decay further.

    Groups added later are taken in at the next write by the same rule; one whose decay is that of a group in force
    was copied from it, and gets its multiplier. Groups may not be removed or change places.

    Args:
        optimizers: one or several.

    Raises:
        ValueError: no group has decay, a decay or ``wd_mult`` is negative or not finite, or the optimizer knows no
            decay.
    """

    def __init__(self, optimizers: Optimizer | Sequence[Optimizer]) -> None:
        given = [optimizers] if isinstance(optimizers, Optimizer) else optimizers
        if not isinstance(given, Sequence) or not all(isinstance(one, Optimizer) for one in given):
            raise ValueError(f"optimizer must be a torch.optim.Optimizer or several, got {shown(optimizers)}")
        self.optimizers = [unwrapped(optimizer) for optimizer in given]
        # By position, for a checkpoint that is loaded replaces the groups.
        self._members: list[list[_Member]] = [[] for _ in self.optimizers]
        self._where: list[tuple[Optimizer, int, _Member]] = []  # of those with decay
        decays = [_start_decay(optimizer, group) for optimizer, group in self._new_groups()]
        self._largest = max((decay for decay in decays if decay > 0), default=1.0)
        self._take_in_new_groups()
        if not self._where:
            raise ValueError(
                "no parameter group has decay: give weight_decay=1e-4 or so (any value but 0) to the groups to be "
                "scheduled when the optimizer is made; lambda_rl.split_parameters(model, 1e-4) makes two groups, "
                "weights with decay, biases and norms without"
            )

    # ---- which groups

    def _new_groups(self) -> Iterator[tuple[Optimizer, dict[str, Any]]]:
        for optimizer, members in zip(self.optimizers, self._members, strict=True):
            for group in optimizer.param_groups[len(members) :]:
                yield optimizer, group

    def _scheduled(self) -> Iterator[tuple[Optimizer, dict[str, Any], _Member]]:
        """The groups with decay."""
        return ((optimizer, optimizer.param_groups[i], member) for optimizer, i, member in self._where)

    def check(self) -> None:
        """Whether λ can be written: the groups are still those that they were, and new ones are sound.

        Raises:
            ValueError: groups were removed or have changed places, or a new one cannot be scheduled.
        """
        for optimizer, members in zip(self.optimizers, self._members, strict=True):
            groups = optimizer.param_groups
            for i, member in enumerate(members):
                if i >= len(groups) or not self._known_again(groups, i, member):
                    raise ValueError(
                        f"parameter group {i} of {type(optimizer).__name__} is not the one that it was: groups were "
                        "removed or have changed places, and λ would go to the wrong ones. Make a new schedule after "
                        "such a change"
                    )
        for optimizer, group in self._new_groups():
            _start_decay(optimizer, group)

    def _known_again(self, groups: list[dict[str, Any]], i: int, member: _Member) -> bool:
        """Whether group ``i`` is still that of ``member``; its parameters may have been replaced by others."""
        group = groups[i]
        if _first(group) is member.first or _holds(group, member.first):
            return True
        elsewhere = member.first is not None and any(_holds(other, member.first) for other in groups)
        if elsewhere or group.get("wd_mult", 0.0) != member.mult:
            return False
        member.first = _first(group)
        return True

    def settled(self) -> bool:
        """Whether nobody has touched groups or decays since λ was written; where decays are tensors, nobody knows."""
        # Asked at each call of a schedule, so in one pass; a float that nobody replaced is the same object.
        for optimizer, members in zip(self.optimizers, self._members, strict=True):
            groups = optimizer.param_groups
            if len(groups) != len(members):
                return False
            for group, member in zip(groups, members, strict=True):
                params = group["params"]
                if (params[0] if params else None) is not member.first:
                    return False
                if member.mult != 0 and (
                    group.get("weight_decay") is not member.written
                    or group.get("lam_factor") is not member.factor
                ):
                    return False
        return True

    def _take_in_new_groups(self) -> None:
        for optimizer, members in zip(self.optimizers, self._members, strict=True):
            for group in optimizer.param_groups[len(members) :]:
                mult = self._mult(optimizer, group)
                if mult != 0:
                    group["wd_mult"] = mult
                decay = group.get("weight_decay")
                if isinstance(decay, Tensor):
                    # The default of an optimizer is one tensor for all groups; each needs its own to be filled.
                    others = [g for g in optimizer.param_groups if g is not group]
                    if any(g.get("weight_decay") is decay for g in others):
                        group["weight_decay"] = decay.clone()
                start_lr = float(group.get("initial_lr", group.get("lr", 1.0)))
                members.append(_Member(mult, start_lr, peak_lr(group), _first(group)))
        self._find()

    def _mult(self, optimizer: Optimizer, group: dict[str, Any]) -> float:
        """The multiplier of a new group."""
        decay = _start_decay(optimizer, group)
        if "wd_mult" in group:
            return float(group["wd_mult"])
        for _, other, member in self._scheduled():
            if decay != 0 and float(other["weight_decay"]) == decay:
                return member.mult
        return decay / self._largest

    def _find(self) -> None:
        self._where = [
            (optimizer, i, member)
            for optimizer, members in zip(self.optimizers, self._members, strict=True)
            for i, member in enumerate(members)
            if member.mult != 0
        ]

    # ---- writing

    def write(self, lam: float) -> None:
        """Sets ``weight_decay`` to λ · ``wd_mult``; in place where it is a tensor (compiled or captured optimizers)."""
        if next(self._new_groups(), None) is not None:
            self._take_in_new_groups()
        self._write_known(lam)

    def _write_known(self, lam: float) -> None:
        for _, group, member in self._scheduled():
            member.written = lam * member.mult * group.get("lam_factor", 1.0)
            member.factor = group.get("lam_factor")
            if isinstance(group.get("weight_decay"), Tensor):
                group["weight_decay"].fill_(member.written)
            else:
                group["weight_decay"] = member.written

    def overwritten(self) -> bool:
        """Whether somebody else changed a decay since it was last written; tensors are not looked at."""
        return any(
            not isinstance(group.get("weight_decay"), Tensor) and group.get("weight_decay") != member.written
            for _, group, member in self._scheduled()
            if member.written is not None
        )

    # ---- measuring

    def meanings(self) -> set[str]:
        """The meanings of decay that occur: "coupled", "decoupled" or both."""
        return {group_meaning(optimizer, group) for optimizer, group, _ in self._scheduled()}

    def version(self) -> int:
        """A number that changes whenever the weights with decay are trained, by whatever optimizer."""
        # One weight of each group will do: this is asked at each call of a schedule.
        total = 0
        for optimizer, i, _ in self._where:
            for parameter in optimizer.param_groups[i]["params"]:
                if parameter.requires_grad:
                    total += parameter._version
                    break
        return total

    def num_params(self) -> int:
        """How many trainable parameters the decay acts on."""
        return sum(p.numel() for _, g, _ in self._scheduled() for p in g["params"] if p.requires_grad)

    def weights(self) -> Iterator[Tensor]:
        """The trainable weights with decay."""
        return (p for _, group, _ in self._scheduled() for p in group["params"] if p.requires_grad)

    def norms(self) -> tuple[float, float]:
        """The Euclidean norm of the trainable weights with decay, and Σ ½‖w‖² over their groups.

        The latter weighted as λ is, by ``wd_mult`` and ``lam_factor``.
        """
        return norm_and_half_square(
            (parameter.detach(), member.mult * group.get("lam_factor", 1.0))
            for _, group, member in self._scheduled()
            for parameter in group["params"]
            if parameter.requires_grad
        )

    def lr_ratio(self, *, peak: bool = False) -> float:
        """Learning rate of the first scheduled group over its start (``initial_lr`` where a scheduler set one).

        Args:
            peak: over the largest that it is known to have (``max_lr`` of OneCycleLR) instead.
        """
        _, group, member = next(self._scheduled())
        rate = member.peak_lr if peak else member.start_lr
        return float(group.get("lr", 1.0)) / rate if rate > 0 else 1.0

    def lr_sum(self, total_steps: int, *, peak: bool = False) -> float:
        """Effective learning rate summed over the run, if it stays as at the start.

        ``lr / (1 - momentum) · total_steps`` for groups with ``momentum`` (SGD), else ``lr · total_steps``.

        Args:
            total_steps: of the run.
            peak: as if it stayed the largest that it is known to have; and decoupled decay is ``lr · total_steps``,
                whatever the momentum.
        """
        optimizer, group, member = next(self._scheduled())
        if peak:
            return effective_lr(optimizer, group, member.peak_lr) * total_steps
        return member.start_lr / max(1.0 - float(group.get("momentum", 0.0)), 1e-3) * total_steps

    def adaptive(self) -> bool | None:
        """Whether the optimizer of the first scheduled group is adaptive, see :func:`~.architecture.is_adaptive`."""
        optimizer, group, _ = next(self._scheduled())
        return is_adaptive(optimizer, group)

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """Multipliers and start learning rates by optimizer and group, and how many groups there are.

        Those that were added since the last write are only counted: they are taken in later, as they would have been.
        """
        return {
            "wd_mult": [[member.mult for member in members] for members in self._members],
            "start_lr": [[member.start_lr for member in members] for members in self._members],
            "peak_lr": [[member.peak_lr for member in members] for members in self._members],
            "largest": self._largest,
            "groups": [len(optimizer.param_groups) for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: Mapping[str, Any], lam: float) -> None:
        """Takes back what :meth:`state_dict` gave, and writes the λ that was in force.

        Raises:
            ValueError: the optimizers have another number of groups.
        """
        have = [len(optimizer.param_groups) for optimizer in self.optimizers]
        saved = state.get("groups") or [len(mults) for mults in state["wd_mult"]]
        if have != saved:
            raise ValueError(
                f"schedule state is for parameter groups {saved}, the optimizer has {have} (per optimizer)"
            )
        self._members = [
            [
                _Member(float(mult), float(rate), float(peak), _first(group))
                # Groups beyond those with multipliers are new ones.
                for mult, rate, peak, group in zip(mults, rates, peaks, optimizer.param_groups, strict=False)
            ]
            for optimizer, mults, rates, peaks in zip(
                self.optimizers,
                state["wd_mult"],
                state["start_lr"],
                state.get("peak_lr", state["start_lr"]),  # states of before had none
                strict=True,
            )
        ]
        self._largest = float(state["largest"])
        self._find()
        self._write_known(lam)
