"""Dead letters, oldest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import dropwhile, islice

from chicory.transport import DeadLetter


class Letters:
    """The dead letters of a store. Guarded by the lock of the store that owns it."""

    def __init__(self) -> None:
        self._letters: dict[str, DeadLetter] = {}
        self._counts: Counter[str] = Counter()

    def add(self, letter: DeadLetter) -> None:
        """Keep one."""
        self.pop(letter.id)
        self._letters[letter.id] = letter
        self._counts[letter.queue] += 1

    def get(self, letter_id: str) -> DeadLetter | None:
        """Find one."""
        return self._letters.get(letter_id)

    def pop(self, letter_id: str) -> DeadLetter | None:
        """Take one out."""
        letter = self._letters.pop(letter_id, None)
        if letter is not None:
            self._counts[letter.queue] -= 1
        return letter

    def page(self, queue: str | None, after: str | None, limit: int) -> list[DeadLetter]:
        """The letters that follow ``after``; from the oldest on where that one is gone."""
        letters: Iterator[DeadLetter] = iter(self._letters.values())
        if after in self._letters:
            letters = islice(dropwhile(lambda letter: letter.id != after, letters), 1, None)
        return list(islice((one for one in letters if queue in (None, one.queue)), limit))

    def clear(self, queue: str) -> int:
        """Take out those of a queue; how many there were."""
        gone = [letter.id for letter in self._letters.values() if letter.queue == queue]
        for letter_id in gone:
            self.pop(letter_id)
        return len(gone)

    def count(self, queue: str) -> int:
        """How many a queue has."""
        return self._counts[queue]

    def queues(self) -> set[str]:
        """Queues that have some."""
        return {queue for queue, number in self._counts.items() if number}
