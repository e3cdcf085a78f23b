"""Every column of every table has a meaning, in one place."""

from __future__ import annotations

from pathlib import Path

from sepclr_neuro.report.columns import as_markdown, meaning_of, sidecar

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "columns.md"


def test_the_document_is_the_list() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == as_markdown()


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
    assert meaning_of("probes", "no_such") is None
