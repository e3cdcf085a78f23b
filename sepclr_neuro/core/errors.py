"""The one error that a user is meant to read, and how it suggests a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = ["InputError", "nearest"]


class InputError(ValueError):
    """Something a user gave is wrong; the message names it, what was expected and what to do.

    The command line prints the message without a traceback and exits with status 2.

    Args:
        problems: one message, or every problem that was found, each a full sentence.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        if len(self.problems) == 1:
            message = self.problems[0]
        else:
            lines = "\n".join(f"  - {problem}" for problem in self.problems)
            message = f"{len(self.problems)} problems were found:\n{lines}"
        super().__init__(message)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known one that is most like it, or all of them.

    >>> nearest("sipe", ["age", "site"])
    " Did you mean 'site'?"
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known)}."
