"""Every column of every table has a meaning, in one place."""

from __future__ import annotations

from pathlib import Path

from sepclr_neuro.maps.diseases import PAIRS
from sepclr_neuro.maps.saliency import TABLES as OF_SALIENCY
from sepclr_neuro.maps.subtypes import ASSOCIATIONS, SUBTYPES
from sepclr_neuro.report.columns import meaning_of
from sepclr_neuro.report.descriptions import as_markdown, sidecar

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "columns.md"


def test_the_document_is_the_list() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == f"{as_markdown()}\n"


def test_a_sidecar_describes_each_column_and_says_what_only_the_configuration_knows() -> None:
    content = sidecar("cohort", ["age", "sex", "iq"], {"iq": "Score `iq` of the configuration"})
    assert list(content) == ["TableDescription", "age", "sex", "iq"]
    assert content["age"] == {"Description": "Age at the scan.", "Units": "years"}
    assert content["sex"]["Levels"]["female"] == "female"
    assert content["iq"]["Description"] == "Score `iq` of the configuration."


def test_a_columns_own_meaning_in_a_table_comes_first() -> None:
    general, own = meaning_of("probes", "sd"), meaning_of("comparisons", "sd")
    assert general is not None
    assert own is not None
    assert general != own
    assert meaning_of("digits_history", "digits_salient") == meaning_of("digits", "digits_salient")
    assert meaning_of("digits_history", "digits_salient") != meaning_of("digits_history", "alignment")
    assert meaning_of("history", "dimensions") != meaning_of("history", "alignment")
    assert meaning_of("probes", "no_such") is None


def test_tables_that_a_small_run_leaves_empty_are_described_too() -> None:
    listed = {"diseases": PAIRS, "subtypes": SUBTYPES, "associations": ASSOCIATIONS, **OF_SALIENCY}
    listed["members"] = ["participant_id", "fold", "axis_1", "axis_2", "of_3"]
    missing = [(kind, column) for kind, columns in listed.items() for column in columns if not meaning_of(kind, column)]
    assert missing == []
