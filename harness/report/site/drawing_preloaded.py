"""Loaded once by the server that processes for drawing come of: what they would each begin with.

The records are read meanwhile, which takes as long. Importing this module does work, which no other may.
"""

from __future__ import annotations

from harness.report.figure_words import text_width
from harness.report.site import comparison_parts, comparison_tables, series_rows, trial_parts
from harness.report.site.layout import environment
from harness.report.site.trial_pages import can_trace

PARTS = (comparison_parts, comparison_tables, series_rows, trial_parts)
"""What pages import when they are drawn."""
if can_trace():
    import harness.report.exports.perfetto  # noqa: F401  # to load it is all that is wanted

for name in ("series", "trial", "comparison", "entry"):
    environment().get_template(f"{name}.html.j2")
# the first measured word loads the list of fonts
text_width("words", 10.0)
