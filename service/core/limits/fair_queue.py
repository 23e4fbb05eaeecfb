"""A queue that is fair between groups.

An item waits for its own group, and for one item of each other.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

G = TypeVar("G")
T = TypeVar("T")


class FairQueue(Generic[G, T]):
    """Items that leave in turns, one of each group.

    Those of a group in the order of their arrival.

    It has no bound of its own: it holds at most one item per open job.
    """

    def __init__(self) -> None:
        self._groups: OrderedDict[G, tuple[T] | dict[T, None]] = OrderedDict()
        """The groups in the order of their turns; most have one item, for which a dict would be large."""
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._groups)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        for items in self._groups.values():
            yield from items

    def add(self, group: G, item: T) -> None:
        """Add an item, unless it waits already; a new group has its turn after all others."""
        items = self._groups.get(group, ())
        if item in items:
            return
        self._size += 1
        if isinstance(items, dict):
            items[item] = None
        else:
            self._groups[group] = {items[0]: None, item: None} if items else (item,)

    def holds(self, group: G, item: T) -> bool:
        """Whether the item of this group waits."""
        return item in self._groups.get(group, ())

    def pop(self) -> T:
        """Remove and return the next item; the queue must not be empty."""
        group, items = next(iter(self._groups.items()))
        item = next(iter(items))
        self._size -= 1
        if isinstance(items, tuple) or len(items) == 1:
            del self._groups[group]
        else:
            del items[item]
            self._groups.move_to_end(group)
        return item

    def remove(self, group: G, item: T) -> None:
        """Remove an item that waits; its group keeps its turn for the others."""
        items = self._groups[group]
        self._size -= 1
        if isinstance(items, tuple) or len(items) == 1:
            del self._groups[group]
        else:
            del items[item]

    def drop(self, is_over: Callable[[G], bool]) -> None:
        """Remove these groups."""
        for group in [group for group in self._groups if is_over(group)]:
            self._size -= len(self._groups.pop(group))
