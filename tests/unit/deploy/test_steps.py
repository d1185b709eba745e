"""The steps of a run, and what ends it."""

from __future__ import annotations

from typing import Never

import pytest

from deploy.steps import Interrupted, Run


def quiet(_line: str) -> None:
    pass


class EndsBadly:
    """Its finaliser is where the signal comes: Python prints what a finaliser raises, and goes on."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __del__(self) -> Never:
        self.run.interrupt("SIGTERM ended it")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_in_a_finaliser_ends_the_run_with_its_step() -> None:
    run = Run(quiet)
    with pytest.raises(Interrupted, match="SIGTERM ended it") as caught, run.step("roll"):
        EndsBadly(run)
    assert caught.value.step == "roll"


def test_a_run_that_is_settled_forgets_a_signal_that_was_dropped() -> None:
    run = Run(quiet)
    with run.step("current"):
        with pytest.raises(Interrupted):
            run.interrupt("SIGTERM ended it")
        run.settle()
    with run.step("prune"):
        pass
    assert [step.name for step in run.steps] == ["current", "prune"]
