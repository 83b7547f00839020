"""The report: one self-contained HTML file, from the results of one or more runs."""

from ilion.report.build import write_report

__all__ = ["write_report"]
