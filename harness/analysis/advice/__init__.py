"""Advice on a trial: rules over its evidence. No evidence, no advice. Pure: values in, words out.

Everything that a rule may look at is in `facts`; the rules are in the modules by what they are about; `table` has them
all in the order in which they are told. docs/advice.md is the same table for people.
"""

from harness.analysis.advice.facts import Finding
from harness.analysis.advice.table import RULES, Advice, Rule, advise

__all__ = ["RULES", "Advice", "Finding", "Rule", "advise"]
