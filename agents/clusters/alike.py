"""What has to be the same in every process, or the same seed would not give the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Alike(Generic[T]):
    """Makes something in another process, if that one is like this.

    Attributes:
        make: makes it.
        told: what has to be the same, as each process tells it.
        here: as this one does.
    """

    make: Callable[..., T]
    told: Callable[[], str]
    here: str

    def __call__(self, *arguments: Any) -> T:
        """Makes it.

        Raises:
            ValueError: the process has other code, another release of torch, or another kind of device.
        """
        if self.told() != self.here:
            raise ValueError(
                "a worker has another version of lambda_rl or torch, or another kind of device, than this process; "
                "install the same on all machines"
            )
        return self.make(*arguments)


def alike(make: Callable[..., T], told: Callable[[], str]) -> Alike[T]:
    """The same, with what this process tells."""
    return Alike(make, told, told())
