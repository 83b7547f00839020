"""Pages of a proof of concept: the decision, the shot list, and boxes drawn by hand. Each is one file."""

from ilion.report.decision.boxes import write_boxes
from ilion.report.decision.page import write_decision
from ilion.report.decision.shots import write_shots

__all__ = ["write_boxes", "write_decision", "write_shots"]
