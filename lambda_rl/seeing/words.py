"""A row of a schedule's history in words."""

from __future__ import annotations

Row = dict[str, float | str | None]
"""What is recorded of a decision: ``progress``, ``lam``, the signals given; of some schedules more."""

NOT_SIGNALS = ("progress", "lam", "kappa", "asked", "held")
"""What a row has beside signals and the values of knobs beside λ."""


def number(row: Row, name: str) -> float | None:
    """An entry of a row that is a number; None if there is none."""
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) else None


def signals(row: Row) -> dict[str, float]:
    """Signals and knobs of a row."""
    found = {name: number(row, name) for name in row if name not in NOT_SIGNALS}
    return {name: value for name, value in found.items() if value is not None}


def state(row: Row) -> str:
    """What is in force: "λ 0.012, κ 3.1, at 25 %, held by far (asked for 0.02)"."""
    lam, kappa, progress, asked = (number(row, name) for name in ("lam", "kappa", "progress", "asked"))
    words = [] if lam is None else [f"λ {lam:.3g}"]
    words += [] if kappa is None else [f"κ {kappa:.3g}"]
    words += [] if progress is None else [f"at {100 * progress:.3g} %"]
    if row.get("held"):
        words += [f"held by {row['held']}" + ("" if asked is None else f" (asked for {asked:.3g})")]
    return ", ".join(words)


def line(row: Row) -> str:
    """What is in force, and the signals that led to it."""
    told = ", ".join(f"{name} {value:.4g}" for name, value in signals(row).items())
    return f"{state(row)}: {told}" if told else state(row)
