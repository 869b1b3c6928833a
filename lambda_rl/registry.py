"""Registries: what there is several of (penalties, networks, features, …), by name."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar, overload

from lambda_rl.checks import did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind by name, in the order in which they were registered.

    >>> shapes: Registry[int] = Registry("shape")
    >>> shapes.register("triangle", 3)
    3
    >>> shapes["triangle"], shapes.names()
    (3, ('triangle',))

    A class or function is registered where it is written, with ``@shapes.register("square")``.

    Args:
        what: what one of them is called in an error, in the singular.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._items: dict[str, T] = {}

    @overload
    def register(self, name: str) -> Callable[[T], T]: ...

    @overload
    def register(self, name: str, item: T) -> T: ...

    def register(self, name: str, item: T | None = None) -> T | Callable[[T], T]:
        """Adds an item, and gives it back; without an item, a decorator that does so.

        Raises:
            ValueError: the name is empty, or taken.
        """
        if item is None:
            return lambda decorated: self.register(name, decorated)
        if not name or not isinstance(name, str):
            raise ValueError(f"the name of a {self.what} must be a text that is not empty, got {name!r}")
        if name in self._items:
            raise ValueError(f"there is a {self.what} {name!r} already")
        self._items[name] = item
        return item

    def get(self, name: str) -> T:
        """The item of that name.

        Raises:
            ValueError: there is none; the message lists the names that there are.
        """
        if name not in self:
            raise ValueError(
                f"unknown {self.what} {reprlib.repr(name)}; allowed: {', '.join(self._items) or 'none'}"
                f"{did_you_mean(name, self._items)}"
            )
        return self._items[name]

    __getitem__ = get

    def names(self) -> tuple[str, ...]:
        """All names, in order of registration."""
        return tuple(self._items)

    def items(self) -> tuple[tuple[str, T], ...]:
        """All names with their items, in order of registration."""
        return tuple(self._items.items())

    @contextmanager
    def temporarily(self, name: str, item: T) -> Iterator[T]:
        """Registers an item and takes it out again at the end of the ``with``, for tests.

        Raises:
            ValueError: see :meth:`register`.
        """
        self.register(name, item)
        try:
            yield item
        finally:
            del self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._items
