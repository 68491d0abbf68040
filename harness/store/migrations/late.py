"""What came late within version 3: revision 3 brings it, and revision 4 to databases that were made before it came."""

from __future__ import annotations

from alembic import op
from sqlalchemy import and_, column, or_, table, true

from harness.store.migrations.columns import INTEGER, NUMBER, OBJECT, TEXT, TRIALS, YES_OR_NO, New, bring

_COLUMNS = [
    New("cut_short", YES_OR_NO, False),
    # the app made one engine
    New("copies", INTEGER, 1),
    New("prediction_calibration", NUMBER),
    # the app told of none
    New("notices", OBJECT, []),
]


def bring_late() -> None:
    """Adds the columns; trials that ended with their run are known by their reasons."""
    if "cut_short" not in bring(_COLUMNS):
        return
    trials = table(TRIALS, column("cut_short", YES_OR_NO), column("reason", TEXT), column("outcome", TEXT))
    salvaged = trials.c.reason.like("the harness process % before the trial ended; recovered %")
    interrupted = trials.c.reason.like("%trial: interrupted")
    # a fault of the harness itself cannot be told from another harness_error: such a trial counts as whole
    cut = or_(and_(trials.c.outcome == "harness_error", salvaged), interrupted)
    op.execute(trials.update().where(cut).values(cut_short=true()))
