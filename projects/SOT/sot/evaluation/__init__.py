"""One-pass evaluation of single-object tracking: given the box of the first frame, how well are the others found."""

from .conventions import CONVENTIONS, Convention
from .one_pass import Report, evaluate_one_pass, format_table
from .rules import RULES, Rules

__all__ = ["CONVENTIONS", "RULES", "Convention", "Report", "Rules", "evaluate_one_pass", "format_table"]
