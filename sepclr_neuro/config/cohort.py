"""The section `cohort` of ``config.yaml``: sources of participants, meanings of their tables, inclusion."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from sepclr_neuro.config.columns import TableColumn
from sepclr_neuro.config.section import Name, PlainPath, Range, Section, WrongKeyError
from sepclr_neuro.config.simulation import SYMPTOMS, Implant, Simulation
from sepclr_neuro.core.errors import nearest
from sepclr_neuro.core.words import listed

__all__ = ["AMONG_PATIENTS", "Cohort", "Columns", "Inclusion", "QualityRule", "Score", "Study", "among_patients"]

AMONG_PATIENTS = "-among-patients"
"""Ends the name of the column that compares a disease with the other diseases."""
_KINDS = {
    "simulated": (
        "SIMULATED cohort",
        "Its participants do not exist. Volumes and labels were made from a template with known effects: "
        "nothing here says anything about {disorder}.",
    ),
    "implanted": (
        "IMPLANTED effect",
        "The volumes are real, the patients are not: a known pattern was put into participants drawn at random. "
        "Nothing here says anything about {disorder}.",
    ),
    "files": ("Real cohort", "Participants and volumes come from the tables named in the configuration."),
}


def among_patients(diseases: Iterable[str]) -> list[str]:
    """The diseases that are compared with the other patients: of two the first alone, since the second one's comparison
    is the same the other way round, and would be tested twice.

    >>> among_patients(["a", "b"]), among_patients(["a", "b", "c"])
    (['a'], ['a', 'b', 'c'])
    """
    names = list(diseases)
    return names[:1] if len(names) == 2 else names


def _of_text(encoding: str) -> str:
    try:
        "x".encode(encoding)
    except LookupError:
        known = ["utf-8", "utf-16", "latin-1", "cp1250", "cp1251", "cp1252", "mac_roman", "shift_jis", "gb18030"]
        raise ValueError(f"no encoding is called {encoding!r}.{nearest(encoding, known)}") from None
    return encoding


class Study(Section):
    """One source of participants: a participants table, its phenotype tables and its volumes."""

    name: Name = Field(description="A short name, used in messages.")
    participants: PlainPath = Field(
        description="participants.tsv (or .csv), one row a participant or a session. Relative paths, here and "
        "everywhere in the configuration, start from the folder in which the command is given."
    )
    phenotypes: list[PlainPath] = Field([], description="Tables joined to it on participant (and session).")
    constants: dict[str, str] = Field(
        {}, description="Columns that this study's tables lack, one value for all, e.g. `site: prague`."
    )
    missing: list[str] = Field(
        [],
        description="Texts that mean missing in all of its tables, beside `n/a` and the empty cell, e.g. "
        "`['.', NA, '-', '-999']`.",
    )
    encoding: Annotated[str, AfterValidator(_of_text)] = Field(
        "utf-8",
        description="Of those of its tables that are not UTF-8, as Python calls it, e.g. `latin-1` or `cp1252`.",
    )
    volumes: str | None = Field(
        None,
        description="Path pattern of the volumes: `{column}` is replaced by a table column, `*` matches any text. "
        "`{column:label}` is the column without `sub-` or `ses-`, `{column:03}` with a last number of three digits, "
        "`{column:upper}` and `{column:lower}` in capitals or small letters. Null where there are none, or where "
        "`columns.volume` names a column of paths.",
    )
    volumes_root: Path | None = Field(
        None,
        description="Folder that volume paths start from and must not leave by `..` or as absolute paths; links in it "
        "may lead anywhere. Default: the participants' folder.",
    )


class Columns(Section):
    """The name that each fact has in the tables. Values are the tables' column names."""

    participant_id: TableColumn = Field(
        "participant_id", description="The participant's id; `sub-` in front is ignored."
    )
    session_id: TableColumn | None = Field(None, description="Null where each participant was scanned once.")
    diagnosis: TableColumn = Field("diagnosis", description="Its meanings are listed in `background` and `target`.")
    age: TableColumn = Field("age", description="In years.")
    sex: TableColumn = Field(
        "sex", description="As BIDS spells it (M, female, O, ...); other codes are given meanings in `values.sex`."
    )
    site: TableColumn = Field("site", description="Where a participant was scanned.")
    volume: TableColumn | None = Field(
        None, description="Column of volume paths, relative to the study's `volumes_root`."
    )
    others: dict[Name, TableColumn] = Field(
        {}, description="Further columns to keep, `name: column`, e.g. `tiv: TIV`; numeric where all values are."
    )

    @property
    def names(self) -> dict[str, str]:
        """By the cohort's name of a fact, the tables' name of its column."""
        return {name: column for name, column in self if isinstance(column, str)} | self.others


class Score(Section):
    """A symptom score: one column, or items summed."""

    column: TableColumn | None = Field(None, description="The column that holds the total.")
    items: str | list[TableColumn] | None = Field(
        None, description="Items to sum: a list of columns, or a regular expression that matches whole names."
    )
    exclude_items: list[TableColumn] = Field(
        [], description="Items left out of the sum, e.g. global ratings, which repeat the items they rate."
    )
    range: Range = Field(description="Lowest and highest possible total; a value outside is an error.")
    people: Literal["target", "all"] = Field(
        "target",
        description="Participants who have it. A value for others is an error, but for the lowest possible one, which "
        "is taken as none.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.column is None) == (self.items is None):
            raise ValueError("give either `column` (a total) or `items` (to be summed), not both and not neither")
        if self.exclude_items and self.items is None:
            raise ValueError("`exclude_items` needs `items`")
        if isinstance(self.items, str):
            try:
                re.compile(self.items)
            except re.error as error:
                raise ValueError(f"`items` is not a regular expression: {error}") from error
        return self


class QualityRule(Section):
    """Inclusion by one column of the tables."""

    column: TableColumn = Field(description="Column of the tables, or of the cohort.")
    minimum: float | None = Field(None, description="Lowest value that stays in. Null: any.")
    maximum: float | None = Field(None, description="Highest value that stays in. Null: any.")
    keep: list[str] | None = Field(None, description="Values that stay in, as the tables or `values` have them.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.minimum is None and self.maximum is None and self.keep is None:
            raise ValueError("give `minimum`, `maximum` or `keep`")
        return self

    @property
    def has_bounds(self) -> bool:
        return self.minimum is not None or self.maximum is not None


class Inclusion(Section):
    """Inclusion. All excluded participants are listed in exclusions.tsv with the rule."""

    age: Range | None = Field(None, description="Youngest and oldest, in years, both included.")
    quality: list[QualityRule] = Field([], description="Rules that each included participant must meet.")
    require: list[TableColumn] = Field(
        ["age", "sex", "site"],
        description="A missing value of these leaves a participant out: any columns of the cohort or the tables, "
        "scores (of the participants who have them), and `volume`.",
    )


class Cohort(Section):
    """Sources of participants, meanings of their tables' columns, and inclusion."""

    source: Literal["simulated", "implanted", "files"] = Field(
        "simulated", description="`files`: your own cohort. `implanted`: your volumes, a known effect put into them."
    )
    simulation: Simulation | None = Field(None, description="Of `source: simulated`.")
    implant: Implant | None = Field(None, description="Of `source: implanted`.")
    studies: list[Study] = Field([], description="Concatenated into one cohort.")
    columns: Columns = Field(Columns(), description="The name that each fact has in the tables.")
    values: dict[TableColumn, dict[str, str]] = Field(
        {},
        description="What the tables' codes mean, `column: {code: meaning}`, e.g. `sex: {'1': male, '2': female}` or "
        "`age: {'89+': '90'}`; below a score's name, of all its items. A code that is not listed is an error, nothing "
        "is guessed, but numbers beside such as `89+` and sex as BIDS spells it (M, female, O) mean what they are.",
    )
    background: list[str] = Field(["control"], min_length=1, description="Diagnoses of the background group.")
    target: list[str] = Field(["schizophrenia"], min_length=1, description="Diagnoses of the target group.")
    diseases: dict[Name, Annotated[list[str], Field(min_length=1)]] = Field(
        {},
        description="Two or more diseases that make the target group together, `name: diagnoses`, in place of "
        "`target`: each is compared with the background and with the other diseases.",
    )
    scores: dict[Name, Score] = Field({}, description="Symptom scores, `name: where it is`.")
    include: Inclusion = Field(Inclusion(), description="Rules of inclusion.")
    on_error: Literal["stop", "exclude"] = Field(
        "stop",
        description="What a wrong cell or a bad volume of single participants does: stop the run, or exclude them, "
        "with the reason in exclusions.tsv. What concerns a table, a code or the configuration always stops.",
    )

    @property
    def kind(self) -> tuple[str, str]:
        """What everybody who sees a result must know first: whether participants are real, in two and in many words."""
        kind, said = _KINDS[self.source]
        return kind, said.format(disorder=self.disorder)

    @property
    def kind_said(self) -> str:
        """Both in a row."""
        return ". ".join(self.kind)

    @property
    def disorder(self) -> str:
        """The diseases or diagnoses of the target group in a sentence."""
        return listed(self.target_names, "or")

    @property
    def target_names(self) -> list[str]:
        """What the target group consists of, for readers: its diseases or, without any, its diagnoses."""
        return list(self.diseases or self.target)

    @property
    def contrasts(self) -> dict[str, tuple[str, str]]:
        """The cohort's columns that say who has a disease: by name, the disease and whom it is compared with."""
        return {name: (name, "background") for name in self.diseases} | {
            f"{name}{AMONG_PATIENTS}": (name, "target") for name in among_patients(self.diseases)
        }

    @property
    def table_name(self) -> str:
        """The name of the table of probes: the target group's diseases or diagnoses, in letters that any disk takes.

        >>> Cohort(target=["Major depression", "MDD (F32)"]).table_name
        'major-depression-mdd-f32'
        """
        words = re.findall(r"[^\W_]+", " ".join(self.target_names).lower())
        return "-".join(words)[:50].strip("-") or "target"

    @property
    def is_published(self) -> bool:
        """Whether the paper has a table of the same disorder."""
        return self.table_name == "schizophrenia"

    @property
    def known(self) -> list[str]:
        """The cohort's columns that settings may name."""
        facts = ["age", "sex", "site", "diagnosis", *(["disease"] if self.diseases else []), *self.contrasts]
        if self.source == "simulated":
            return [*facts, *SYMPTOMS, "tiv"]
        implanted = SYMPTOMS if self.source == "implanted" else ()
        return [*facts, *self.scores, *self.columns.others, *implanted]

    def known_as(self, name: str) -> str:
        """The cohort's name of a column, given by that name or the tables'; the given name where it has none.

        >>> studies = [Study(name="ours", participants="participants.tsv")]
        >>> cohort = Cohort(source="files", studies=studies, columns=Columns(age="years", others={"tiv": "TIV"}))
        >>> [cohort.known_as(name) for name in ("TIV", "tiv", "years", "note")]
        ['tiv', 'tiv', 'age', 'note']
        """
        names = self.columns.names
        if name in self.known or name in names:
            return name
        scores = {own: score.column for own, score in self.scores.items()}
        return next((own for own, column in (names | scores).items() if column == name), name)

    def own_column(self, path: str, name: str) -> str:
        """The cohort's name of a column that the key at ``path`` names.

        Raises:
            ValueError: if the cohort has no such column.
        """
        own = self.known_as(name)
        if own in self.known:
            return own
        (first, *_), disease = among_patients(self.diseases) or [""], name.removesuffix(AMONG_PATIENTS)
        if disease != name and disease in self.diseases:
            raise ValueError(
                f"{path}: of two diseases {name!r} is {first + AMONG_PATIENTS!r} the other way round; name that one"
            )
        advice = " Columns of the tables are kept by `cohort.columns.others`, symptom scores by `cohort.scores`."
        raise ValueError(
            f"{path}: the cohort has no column {name!r}.{nearest(name, self.known, listed=True)}"
            f"{'' if self.source == 'simulated' else advice}"
        )

    @model_validator(mode="after")
    def _target_is_of_diseases(self) -> Self:
        diagnoses = [diagnosis for of_one in self.diseases.values() for diagnosis in of_one]
        if not self.diseases:
            return self
        if len(self.diseases) < 2:
            raise WrongKeyError("diseases", "has one entry; name two or more, or write its diagnoses into `target`")
        for diagnosis in diagnoses:
            if diagnoses.count(diagnosis) > 1:
                raise WrongKeyError("diseases", f"{diagnosis!r} is listed twice; a diagnosis is of one disease")
        if "target" in self.model_fields_set and set(self.target) != set(diagnoses):
            raise WrongKeyError("target", "`diseases` says who is in the target group; remove `target`")
        object.__setattr__(self, "target", diagnoses)
        return self

    @model_validator(mode="after")
    def _possible(self) -> Self:
        both = sorted(set(self.background) & set(self.target))
        if both:
            raise WrongKeyError("target", f"{both[0]!r} is in `background` and in `target`; a diagnosis has one side")
        if self.source == "simulated":
            if self.studies:
                raise WrongKeyError(
                    "studies", "`source: simulated` reads no `studies`; remove them, or say `source: files`"
                )
        elif not self.studies:
            raise WrongKeyError("studies", f"`source: {self.source}` needs at least one entry in `studies`")
        if self.source != "simulated" and self.simulation is not None:
            raise WrongKeyError("simulation", f"`simulation` is not used by `source: {self.source}`; remove it")
        if self.source != "implanted" and self.implant is not None:
            raise WrongKeyError("implant", f"`implant` is not used by `source: {self.source}`; remove it")
        names = [study.name for study in self.studies]
        for name in names:
            if names.count(name) > 1:
                raise WrongKeyError("studies", f"two are called {name!r}; give one of them another `name`")
        reserved = {"participant_id", "session_id", "scan_id", "diagnosis", "group", "age", "sex", "site", "volume"}
        if self.source == "implanted":
            reserved |= {"sans", "saps"}
        for name in self.diseases:
            if name in reserved | {"sans", "saps", "tiv"}:
                raise WrongKeyError(f"diseases.{name}", f"{name!r} is a column of the cohort; choose another name")
        reserved |= {*self.contrasts, *(["disease"] if self.diseases else [])}
        for known in (self.simulation, self.implant):
            for name in known.regions_of if known else ():
                if name not in self.diseases:
                    raise ValueError(f"`regions_of`: {name!r} is not in `diseases`.{nearest(name, self.diseases)}")
        for name in (*self.scores, *self.columns.others):
            key = "scores" if name in self.scores else "columns.others"
            if name in reserved:
                raise WrongKeyError(
                    f"{key}.{name}", f"{name!r} is a column that the cohort has anyway; choose another name"
                )
            if name in self.scores and name in self.columns.others:
                raise WrongKeyError(
                    f"{key}.{name}", f"{name!r} is in `scores` and in `columns.others`; a name has one meaning"
                )
        if self.source != "files" and self.on_error == "exclude":
            raise WrongKeyError(
                "on_error", f"`on_error: exclude` is for `source: files`, not {self.source}; correct what is wrong"
            )
        if self.source != "files" and self.scores:
            raise WrongKeyError(
                "scores", f"`scores` are made by `source: {self.source}`; remove them, or say `source: files`"
            )
        if self.source == "simulated" and (self.values or self.columns != Columns()):
            raise ValueError("`source: simulated` knows its own tables; remove `columns` and `values`")
        self._name_values_as_the_cohort_does()
        self._constants_leave_someone()
        return self

    def _constants_leave_someone(self) -> None:
        """Refuses a constant by which a whole study would be left out."""
        required = {self.known_as(name) for name in self.include.require} - self.scores.keys()
        for number, study in enumerate(self.studies):
            for name, value in study.constants.items():
                if value in ("", "n/a") and self.known_as(name) in required:
                    raise WrongKeyError(
                        f"studies.{number}.constants.{name}",
                        f"is {value or 'empty'!r}, and `cohort.include.require` lists it, so that all participants of "
                        f"{study.name} would be left out; take it out of `require` (by default age, sex and site), or "
                        "give a value",
                    )

    def _name_values_as_the_cohort_does(self) -> None:
        """Refuses meanings of codes that are never used."""
        rules = [*(rule.column for rule in self.include.quality), *self.include.require]
        items = [item for score in self.scores.values() if isinstance(score.items, list) for item in score.items]
        matched = [score.items for score in self.scores.values() if isinstance(score.items, str)]
        read = dict.fromkeys([*self.known, *rules, *items])
        values: dict[str, dict[str, str]] = {}
        for name, meanings in self.values.items():
            own = self.known_as(name)
            if own not in read and not any(re.fullmatch(pattern, own) for pattern in matched):
                raise WrongKeyError(f"values.{name}", f"no such fact has codes.{nearest(name, read, listed=True)}")
            if own in values:
                raise WrongKeyError(f"values.{name}", f"is {own!r}, which is listed already; remove one")
            values[own] = meanings
        object.__setattr__(self, "values", values)
