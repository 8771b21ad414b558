"""What was made of objects before, so that a catalog that is built again makes only what changed."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Generic, TypeVar

from multinet.model.objects import Obj

T = TypeVar("T")


class Known(Generic[T]):
    """Values that were made before, found again while their object and the one it leans on are the same.

    A store keeps an object until it changes, so identity is enough. What else a value is made of (networks,
    projects) changes rarely; then a new ``Known`` is begun.
    """

    def __init__(self) -> None:
        self._made: dict[str, tuple[Obj, Obj | None, T]] = {}

    def made_of(self, key: str, o: Obj, leans_on: Obj | None, make: Callable[[], T]) -> T:
        """The value of ``o``, made if it is not known."""
        found = self._made.get(key)
        if found is not None and found[0] is o and found[1] is leans_on:
            return found[2]
        made = make()
        self._made[key] = (o, leans_on, made)
        return made

    def forget_others(self, keys: Container[str]) -> None:
        """Forget what is not among ``keys``."""
        self._made = {key: value for key, value in self._made.items() if key in keys}
