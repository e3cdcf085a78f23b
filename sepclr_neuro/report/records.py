"""The record of each model, model.json, from which the report describes how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sepclr_neuro.config.configured import ConfiguredMethod
from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.report.formatting import cell

__all__ = ["Trained", "span", "trained_methods"]


@dataclass(frozen=True)
class Trained:
    """The models of one method, a record a fold."""

    title: str
    records: list[dict[str, Any]]

    @cached_property
    def configured(self) -> ConfiguredMethod:
        """The method with the settings that its models were made with, which the run's may have left behind."""
        first = self.records[0]
        return parse_config(first["settings"], f"model.json of {first['method']}").for_method(first["method"])

    @property
    def by_gradients(self) -> bool:
        return self.configured.settings.trained

    def all_of(self, key: str) -> list[Any]:
        """A key's values of all folds that have it."""
        return [record[key] for record in self.records if key in record]

    @property
    def networks(self) -> dict[str, dict[str, Any]]:
        """Class and number of weights of each network; the same in all folds."""
        return self.records[0].get("networks", {})


def trained_methods(
    config: Config, recorded: Mapping[tuple[str, int], dict[str, Any]], problems: list[str]
) -> dict[str, Trained]:
    """The models of each method that has any; to the problems is added what is missing, and folds that differ.

    Args:
        recorded: model.json, by method and fold.
    """
    found: dict[str, Trained] = {}
    for method in config.methods:
        title, folds = config.for_method(method).title, range(config.splits.count)
        records = [recorded[method, fold] for fold in folds if (method, fold) in recorded]
        problems += [f"{title}, fold {fold}: there is no model." for fold in folds if (method, fold) not in recorded]
        if records:
            found[method] = Trained(title, records)
        if any(record["settings"] != records[0]["settings"] for record in records):
            problems.append(f"{title}: its folds were not all trained with the same settings; run the workflow again.")
    return found


def span(values: Iterable[Any]) -> str:
    """One value, or the lowest and highest.

    >>> span([3, 3]), span([42, 44, 43])
    ('3', '42 to 44')
    """
    values = list(values)
    low, high = min(values), max(values)
    return cell(low) if low == high else f"{cell(low)} to {cell(high)}"
