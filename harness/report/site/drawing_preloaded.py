"""Loaded once by the server that processes for drawing come of: what they would each begin with.

Most pages that a night changes are series, and they wait for this: what the few others need each process loads when it
has one to draw. Importing this module does work, which no other may.
"""

from __future__ import annotations

from harness.report.figure_words import text_width
from harness.report.site import series_rows
from harness.report.site.layout import environment

PARTS = (series_rows,)
"""What the page imports when it is drawn."""

environment().get_template("series.html.j2")
# the first measured word loads the list of fonts
text_width("words", 10.0)
