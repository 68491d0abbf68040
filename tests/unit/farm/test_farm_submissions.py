"""What a submitted suite's trials take, as the hub's records tell: also what bringing a model takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.telemetry import HostStep
from harness.farm.hub.submissions import PUSH_BYTES_PER_S, board_trials, known_of, read
from harness.farm.wire import JobOptions
from harness.store.database import ResultStore
from tests.kept_trials import a_trial, keep_one

TEXT = 'name = "s"\n[[models]]\nname = "tiny"\nsynth = "tiny"\n'
MODEL_BYTES = 40_000_000
S = 10**9


@pytest.mark.parametrize(
    ("pushes", "product_type", "push_s"),
    [
        (3, "iPhone17,1", 4.0),
        (2, "iPhone17,1", MODEL_BYTES / PUSH_BYTES_PER_S),
        # another class of phones has another way to its port
        (3, "iPhone12,8", None),
    ],
)
def test_a_push_takes_what_it_took_the_class(
    tmp_path: Path, pushes: int, product_type: str, push_s: float | None
) -> None:
    submitted = read(TEXT, "/nowhere", JobOptions())
    with ResultStore.open(tmp_path) as store:
        for number in range(pushes + 3):
            # the first of each phone pushes the model, the others find it there
            step = HostStep("model", 0, 4 * S if number < pushes else S // 10)
            keep_one(
                store,
                a_trial(
                    f"20261122-{number}",
                    model_name="tiny",
                    model_bytes=MODEL_BYTES,
                    device_kind="physical",
                    device_product_type="iPhone17,1",
                    host_steps=(step,),
                ),
            )
        known = known_of(store, submitted, "physical", product_type)
    assert {trial.push_s for trial in board_trials(submitted, known)} == {push_s}
