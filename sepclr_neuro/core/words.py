"""Numbers and lists in sentences."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["counted", "listed"]


def counted(number: int, noun: str, several: str | None = None) -> str:
    """A number with its noun, in the singular for one.

    >>> counted(1, "epoch"), counted(3, "epoch"), counted(1, "person", "people"), counted(0, "person", "people")
    ('1 epoch', '3 epochs', '1 person', '0 people')
    """
    return f"{number} {noun if number == 1 else several or noun + 's'}"


def listed(items: Sequence[str], last: str = "and") -> str:
    """Items as a sentence lists them; by semicolons where an item has a comma of its own.

    >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b"], "or"), listed(["SepCLR, k-JEM", "cVAE", "PCA"])
    ('a', 'a, b and c', 'a or b', 'SepCLR, k-JEM; cVAE; PCA')
    """
    if any("," in item for item in items):
        return "; ".join(items)
    return f" {last} ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
