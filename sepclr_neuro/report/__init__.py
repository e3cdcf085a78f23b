"""The HTML report of a run: one page that opens without a network."""

from sepclr_neuro.report.assemble import write_report

__all__ = ["write_report"]
