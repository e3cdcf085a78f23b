"""Numbers and lists in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["counted", "duration", "listed", "spread"]


def counted(number: int, noun: str, several: str | None = None) -> str:
    """A number with its noun, in the singular for one.

    >>> counted(1, "epoch"), counted(3, "epoch"), counted(1, "person", "people"), counted(0, "person", "people")
    ('1 epoch', '3 epochs', '1 person', '0 people')
    """
    return f"{number} {noun if number == 1 else several or noun + 's'}"


def duration(seconds: float) -> str:
    """Two digits at most: more would promise too much.

    >>> duration(44), duration(400), duration(9000), duration(400_000)
    ('about 44 s', 'about 7 min', 'about 2.5 h', 'about 4.6 days')
    """
    if seconds < 90:
        return f"about {seconds:.0f} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h" if seconds < 172_800 else f"about {seconds / 86_400:.1f} days"


def listed(items: Sequence[str], last: str = "and") -> str:
    """Items as a sentence lists them; by semicolons where an item has a comma of its own.

    >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b"], "or"), listed(["SepCLR, k-JEM", "cVAE", "PCA"])
    ('a', 'a, b and c', 'a or b', 'SepCLR, k-JEM; cVAE; PCA')
    """
    if any("," in item for item in items):
        return "; ".join(items)
    return f" {last} ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def spread(mean: float, sd: float, decimals: int = 2) -> str:
    """The end of a mean's text, its SD; nothing after a single value or equal ones, which have none.

    >>> [f"66.43{spread(66.43, sd)}" for sd in (0.707, 0.0, math.nan, 0.003)]
    ['66.43 ± 0.71', '66.43', '66.43', '66.43 ± 0.003']
    """
    if math.isnan(sd) or sd <= 1e-6 * max(1.0, abs(mean)):  # equal values, but for rounding
        return ""
    shown = f"{sd:.{decimals}f}"
    return f" ± {shown if float(shown) else f'{sd:.1g}'}"
