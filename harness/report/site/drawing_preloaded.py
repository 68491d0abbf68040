"""Loaded once by the server that processes for drawing come of: what they would each begin with.

Importing it does work, which no other module may.
"""

from __future__ import annotations

from harness.report.figure_words import text_width
from harness.report.site import comparison_parts, comparison_tables, series_rows, trial_parts
from harness.report.site.layout import environment

PARTS = (comparison_parts, comparison_tables, series_rows, trial_parts)
"""What pages of each kind import when they are drawn."""

for name in environment().list_templates(extensions=["j2"]):
    environment().get_template(name)
# the first measured word loads the list of fonts
text_width("words", 10.0)
