"""The section `splits` of ``config.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from sepclr_neuro.config.columns import CohortColumn
from sepclr_neuro.config.section import Section, WrongKeyError

__all__ = ["Splits"]


class Splits(Section):
    """Training and test sides of each fold; all scans of a participant are on one side."""

    scheme: Literal["k-fold", "leave-site-out", "external-sites", "file"] = Field(
        "k-fold",
        description="`k-fold`: repeated and stratified. `leave-site-out`: each of `sites` held out in turn. "
        "`external-sites`: all of `sites` held out together, once. `file`: a fixed list.",
    )
    folds: int = Field(5, ge=2, description="Of `k-fold`. The authors' practice: five splits.")
    repeats: int = Field(1, ge=1, description="Of `k-fold`: how often all folds are drawn afresh.")
    stratify_by: list[CohortColumn] = Field(
        ["diagnosis", "site"],
        description="Of `k-fold`: columns balanced over folds, a number such as the age by its quarters.",
    )
    sites: list[str] = Field(
        [],
        description="Sites to be held out, by their names in the cohort. Sites that are not listed always train.",
    )
    site_controls: int = Field(
        0,
        ge=0,
        description="Of `leave-site-out` and `external-sites`: how many controls of each held-out site train with the "
        "other sites, so that its scanner is adjusted for. They are drawn at random and are not tested. 0: a held-out "
        "site counts as the mean site.",
    )
    file: Path | None = Field(
        None, description="Of `file`: a table (.tsv) `fold participant_id side`, sides train and test, folds from 0."
    )
    file_folds: int | None = Field(None, ge=1, description="Of `file`: how many folds it has.")
    group_by: CohortColumn | None = Field(
        None,
        description="A column of the cohort, e.g. a family: participants with the same value are on one side, as all "
        "scans of one are anyway. A missing value: on one's own.",
    )
    probe_fraction: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of the training participants who are kept from the encoders, for probes to be fitted on: "
        "representations of participants whom an encoder was trained on are partly memorised. 0: none.",
    )
    hash_ids: bool = Field(
        False,
        description="Replace participants in splits/published.tsv by keyed hashes; the key is made once and kept in "
        "splits/id_key.txt, which is not to be published.",
    )

    @property
    def count(self) -> int:
        """Number of train-test splits; folds are numbered from 0 to ``count - 1``."""
        if self.scheme == "leave-site-out":
            return len(self.sites)
        if self.scheme == "external-sites":
            return 1
        return self.folds * self.repeats if self.scheme == "k-fold" else self.file_folds or 0

    @property
    def by_site(self) -> bool:
        """Whether whole sites are held out, but for their ``site_controls``."""
        return self.scheme in ("leave-site-out", "external-sites")

    def describe(self) -> str:
        """How participants were split, in sentences for a methods section."""
        if self.scheme == "k-fold":
            repeated = f", repeated {self.repeats} times" if self.repeats > 1 else ""
            how = f"by {self.folds}-fold cross-validation{repeated}, stratified by {' and '.join(self.stratify_by)}"
        elif self.scheme == "leave-site-out":
            how = f"by site: each of {', '.join(self.sites)} was held out in turn"
        elif self.scheme == "external-sites":
            how = f"by site: {', '.join(self.sites)} served as external test data"
        else:
            how = f"as a fixed list says ({self.count} {'split' if self.count == 1 else 'splits'})"
        if self.site_controls:
            how += f", but for {self.site_controls} controls of each, drawn at random, who trained"
        together = "" if self.group_by is None else f" and all participants with the same {self.group_by}"
        apart = (
            f" Of the training participants, {100 * self.probe_fraction:g} % were kept from the encoders; probes were "
            "fitted on them alone."
            if self.probe_fraction
            else ""
        )
        return f"Participants were split {how}, all scans of a participant{together} on one side.{apart}"

    @model_validator(mode="after")
    def _scheme_has_what_it_needs(self) -> Self:
        if self.by_site and not self.sites:
            raise WrongKeyError("sites", f"`scheme: {self.scheme}` needs the names of the sites to be held out")
        for key in ("sites", "site_controls"):
            if not self.by_site and getattr(self, key):
                raise WrongKeyError(
                    key,
                    f"is not used by `splits.scheme: {self.scheme}`, but by `leave-site-out` and `external-sites`; "
                    "remove it, or change the scheme",
                )
        for name in self.sites:
            if self.sites.count(name) > 1:
                raise WrongKeyError("sites", f"{name!r} is listed twice; remove one")
        for key in ("file", "file_folds"):
            if (self.scheme == "file") != (getattr(self, key) is not None):
                advice = "add it" if self.scheme == "file" else "remove it, or say `splits.scheme: file`"
                raise WrongKeyError(
                    key, f"`scheme: file` needs `file` and `file_folds`, and no other scheme uses them; {advice}"
                )
        if self.scheme != "k-fold" and self.repeats > 1:
            raise WrongKeyError(
                "repeats", f"is of `splits.scheme: k-fold` alone, and {self.scheme} draws nothing at random; remove it"
            )
        return self

    @property
    def first_repeat(self) -> range:
        """Folds in which no participant is held out twice, unless a fixed list does so."""
        return range(self.folds if self.scheme == "k-fold" else self.count)
