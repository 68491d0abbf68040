"""The board: which trial is where, and which phone may have the next. No input or output, and no clock of its own."""
