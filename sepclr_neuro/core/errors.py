"""The one error that a user is meant to read: many alike in one line, with suggestions for unknown names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["Alike", "InputError", "by_kind", "nearest", "shape_of", "taken_from"]

_NUMBER = re.compile(r"0x[0-9a-f]+|[+-]?\d[\d.]*(e[+-]?\d+)?", re.IGNORECASE)
_NAMED = 3
_LISTED = 40


class Alike(str):
    """A sentence about one of many of one kind: :func:`by_kind` joins them into one line.

    Attributes:
        subject: what it is about: a participant, a line of a table, a code.
        kind: equal for all that are joined into one line.
        cause: the likely cause, or what to do, a sentence that is added once a kind.
    """

    __slots__ = ("cause", "kind", "subject")

    kind: str
    subject: str
    cause: str

    def __new__(cls, sentence: str, subject: str = "", kind: str = "", cause: str = "") -> Alike:
        made = super().__new__(cls, sentence)
        made.subject, made.kind, made.cause = subject, kind or shape_of(sentence, subject), cause
        return made

    def after(self, words: str) -> Alike:
        """The same of the same kind, with ``words`` in front."""
        return Alike(f"{words}{self}", self.subject, self.kind, self.cause)


def shape_of(sentence: str, *names: str) -> str:
    """A sentence without its numbers and these names, which is equal for sentences of one kind.

    >>> shape_of("sub-01: /data/sub-01.nii: 3 voxels are NaN", "/data/sub-01.nii", "sub-01")
    '?: ?: # voxels are NaN'
    """
    for name in sorted(filter(None, names), key=len, reverse=True):
        sentence = sentence.replace(name, "?")
    return _NUMBER.sub("#", sentence)


def by_kind(problems: Iterable[str]) -> list[str]:
    """One line a kind, in the order of their first: how many there are, the first few, the first sentence, the cause.

    >>> by_kind([Alike(f"sub-{n}: the age is {n - 9}", f"sub-{n}") for n in range(5)] + ["no site"])
    ['5 alike (sub-0, sub-1, sub-2 and 2 more): sub-0: the age is -9', 'no site']
    """
    kinds: dict[tuple[bool, str], list[str]] = {}
    for problem in problems:
        key = (True, problem.kind) if isinstance(problem, Alike) else (False, problem)
        kinds.setdefault(key, []).append(problem)
    return [_line(members) for members in kinds.values()]


def _line(members: list[str]) -> str:
    first = members[0]
    subjects = list(dict.fromkeys(member.subject for member in members if isinstance(member, Alike) and member.subject))
    more = f" and {len(subjects) - _NAMED} more" if len(subjects) > _NAMED else ""
    named = ", ".join(subjects[:_NAMED]) + more
    line = f"{len(members)} alike{f' ({named})' if named else ''}: {first}" if len(members) > 1 else str(first)
    cause = first.cause if isinstance(first, Alike) else ""
    return f"{line}. {cause}" if cause else line


class InputError(ValueError):
    """Something a user gave is wrong; the message names it, what was expected and what to do.

    The command line prints the message without a traceback and exits with status 2.

    Args:
        problems: one message, or every problem that was found, each a full sentence. Those of one kind
            (:class:`Alike`) are one line of the message.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        kinds = by_kind(self.problems)
        if len(kinds) == 1:
            message = kinds[0]
        else:
            lines = "\n".join(f"  - {line}" for line in kinds)
            count = f"{len(self.problems)} problems" + (
                f" of {len(kinds)} kinds" if len(kinds) < len(self.problems) else ""
            )
            message = f"{count} were found:\n{lines}"
        super().__init__(message)


def nearest(name: str, known: Iterable[str], listed: bool = False) -> str:
    """The end of a message about an unknown name: the known one that is most like it, or the first of them.

    Args:
        listed: whether the known ones are listed beside the one that is most like it.

    >>> nearest("sipe", ["age", "site"]), nearest("TIV", ["age", "tiv"])
    (" Did you mean 'site'?", " Did you mean 'tiv'?")
    >>> nearest("sipe", ["age", "site"], listed=True)
    " Did you mean 'site'? Known: age, site."
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    if not near:
        lowered = {other.casefold(): other for other in known}
        near = [lowered[other] for other in difflib.get_close_matches(name.casefold(), lowered, n=1)]
    meant = f" Did you mean {near[0]!r}?" if near else ""
    if near and not listed:
        return meant
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return f"{meant} Known: {', '.join(known[:_LISTED])}{more}."


def taken_from(path: Path) -> str:
    """The middle of a message about a file that is not there: the folder that a relative path was taken from.

    >>> taken_from(Path("/data/participants.tsv"))
    ''
    """
    return "" if path.is_absolute() else f" (a relative path, taken from the folder of the command, {Path.cwd()})"
