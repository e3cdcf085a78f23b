"""Errors in participants' data, kept until it is known which participants are included."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sepclr_neuro.core.errors import Alike

__all__ = ["ERROR", "Problems"]

ERROR = "error in the data"
"""The rule of exclusions.tsv of those whom `on_error: exclude` leaves out."""


@dataclass(frozen=True)
class _OfCells:
    """Something wrong with the cells of some rows: one sentence for ``each`` row, or one of all."""

    rows: pd.Series
    fact: str
    sentence: Callable[[pd.Series], str]
    each: bool


class Problems(list[str]):
    """Errors, a sentence each, and the participants that a rule excludes instead.

    Errors of cells wait until it is known which participants are included (:meth:`settle`): those of participants who
    are left out anyway stop no run. Only what single participants' cells or files have wrong can be left out with
    them. What concerns a table, a code's meaning or the configuration stays a sentence that stops the run: it would
    silently take whole groups away.

    Args:
        rules: those that leave out whom something is wrong with, rather than stop the run.
        ids: of the participants, by row, for the line on several at once.

    Attributes:
        people: why a row is to be left out, by its label in the table at hand: the rule, and what is wrong.
        left_out: why those who were left out were.
    """

    def __init__(self, rules: Collection[str] = (), ids: pd.Series | None = None) -> None:
        super().__init__()
        self.rules = rules
        self.ids = ids
        self.people: dict[int, tuple[str, Alike]] = {}
        self.left_out: list[Alike] = []
        self._waiting: list[_OfCells] = []

    def of_people(self, rows: pd.Series, fact: str, sentence: Callable[[pd.Series], str]) -> None:
        """Notes what is wrong with each row of a mask; ``sentence`` says it of a mask that is not empty."""
        self._waiting.append(_OfCells(rows, fact, sentence, each=True))

    def of_code(self, rows: pd.Series, fact: str, sentence: Callable[[pd.Series], str]) -> None:
        """The same of a code that all rows of a mask have, which cannot be left out with single participants."""
        self._waiting.append(_OfCells(rows, fact, sentence, each=False))

    def wrong(self, fact: str, rows: pd.Index) -> pd.Series:
        """Rows in which a fact is wrong, so that no rule can judge it."""
        masks = [waiting.rows for waiting in self._waiting if waiting.fact == fact]
        return pd.Series(np.logical_or.reduce(masks) if masks else False, index=rows, dtype=bool)

    def settle(self, kept: pd.Series) -> None:
        """Adds the waiting errors of included rows, and drops the rest."""
        for waiting in self._waiting:
            rows = waiting.rows & kept
            if not rows.any():
                continue
            kind = waiting.sentence(rows)
            if not waiting.each and kind not in self:
                self.append(kind)
            for row in rows.index[rows] if waiting.each else ():
                self.of_person(row, waiting.sentence(pd.Series(rows.index == row, rows.index)), kind)
        self._waiting.clear()

    def of_person(self, row: int, sentence: str, kind: str = "", cause: str = "", rule: str = ERROR) -> None:
        """Notes what is wrong with one row; ``kind`` is equal, and ``cause`` added once, for all with the same."""
        subject = "" if self.ids is None else str(self.ids[row])
        error = sentence if isinstance(sentence, Alike) else Alike(sentence, subject, kind, cause)
        if rule in self.rules:
            self.people.setdefault(row, (rule, error))
        elif error not in self:
            self.append(error)
