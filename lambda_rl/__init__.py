"""Schedules for the regularization strength λ of a network in training, hand-designed and learned."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lambda_rl.public import *  # noqa: F403 - its __all__ is the list of what is offered

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Public names come when the first is asked for: what needs none, as ``lambda-rl --help``, never loads torch."""
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    public = importlib.import_module("lambda_rl.public")
    offered = {public_name: getattr(public, public_name) for public_name in public.__all__}
    globals().update(offered, __all__=[*offered, "__version__"])
    if name not in globals():  # rooms, too, are attributes by now
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals()[name]


def __dir__() -> list[str]:
    """All public names."""
    return sorted({*globals(), *__getattr__("__all__")})
