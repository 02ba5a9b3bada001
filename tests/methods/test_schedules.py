"""Learning rates, literally."""

import numpy as np
import pytest

from cifar_imbalance.configuration.fields import FourPhases, Schedule, Step
from cifar_imbalance.methods.schedules import SCHEDULES, burnin_epochs, learning_rates, phase


def rates(*, steps_per_epoch, epochs, **settings):
    schedule = Schedule(**settings)
    parts = [
        learning_rates(schedule, epoch=epoch, steps_per_epoch=steps_per_epoch, epochs=epochs) for epoch in range(epochs)
    ]
    assert all(part.shape == (steps_per_epoch,) and part.dtype == np.float64 for part in parts)
    return np.concatenate(parts).tolist()


def test_constant_is_max_lr():
    assert rates(name="constant", max_lr=0.001, steps_per_epoch=3, epochs=2) == [0.001] * 6


def test_cosine_goes_from_max_lr_to_min_lr_at_the_last_step():
    expected = [1.0, 0.5 + 0.25 * 2**0.5, 0.5, 0.5 - 0.25 * 2**0.5, 0.0]
    assert rates(name="cosine", max_lr=1.0, steps_per_epoch=1, epochs=5) == pytest.approx(expected, abs=1e-15)


def test_cosine_after_a_warm_up():
    expected = [0.3, 0.5, 0.7, 0.9, 0.9, 0.7, 0.3, 0.1]
    found = rates(name="cosine", max_lr=0.9, min_lr=0.1, warmup_fraction=0.5, steps_per_epoch=4, epochs=2)
    assert found == pytest.approx(expected)


def test_the_first_step_of_a_warm_up_from_0_has_a_positive_rate():
    assert rates(name="cosine", max_lr=1.0, warmup_fraction=0.5, steps_per_epoch=4, epochs=2)[0] == 0.25


def test_a_warm_up_may_end_within_an_epoch():
    found = rates(name="cosine", max_lr=1.0, warmup_fraction=0.3125, steps_per_epoch=4, epochs=2)
    assert found[:4] == pytest.approx([0.4, 0.8, 1.0, 1.0])
    assert found[-1] == pytest.approx(0.0)


def test_a_warm_up_may_be_shorter_than_a_step():
    assert rates(name="cosine", max_lr=1.0, warmup_fraction=0.1, steps_per_epoch=3, epochs=1) == pytest.approx(
        [1, 1, 0]
    )


def test_warm_up_steps_are_not_affected_by_rounding():
    """0.07 of 100 steps is 7, though 0.07 * 100 is slightly more."""
    found = rates(name="cosine", max_lr=1.0, warmup_fraction=0.07, steps_per_epoch=10, epochs=10)
    assert found[6:8] == [1.0, 1.0] and found[8] < 1.0


def test_a_warm_up_may_last_the_whole_training():
    found = rates(name="cosine", max_lr=1.0, warmup_fraction=1.0, steps_per_epoch=2, epochs=2)
    assert found == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_a_training_of_one_step_runs_at_max_lr():
    assert rates(name="cosine", max_lr=0.5, steps_per_epoch=1, epochs=1) == [0.5]


def test_step_decays_at_its_milestones():
    found = rates(name="step", max_lr=0.1, step=Step(milestones=[0.5, 0.75], gamma=0.5), steps_per_epoch=2, epochs=4)
    assert found == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025])


def test_step_after_a_warm_up_of_cao_2019():
    """0.1, five epochs of warm-up, a hundredth at epochs 160 and 180 of 200."""
    step = Step(milestones=[0.8, 0.9], gamma=0.01)
    found = rates(name="step", max_lr=0.1, warmup_fraction=0.025, step=step, steps_per_epoch=1, epochs=200)
    assert found[:6] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1])
    assert [found[epoch] for epoch in (159, 160, 179, 180, 199)] == pytest.approx([0.1, 0.001, 0.001, 1e-5, 1e-5])


@pytest.mark.parametrize("name", SCHEDULES)
def test_an_epoch_does_not_need_the_epochs_before_it(name):
    settings = {
        "name": name,
        "max_lr": 0.3,
        "warmup_fraction": 0.375,
        "step": Step(milestones=[0.5]),
        "four_phases": FourPhases(burnin_epochs=1, warmup_epochs=1, flat_epochs=0, cooldown_epochs=2),
    }
    whole = rates(**settings, steps_per_epoch=3, epochs=4)
    assert learning_rates(Schedule(**settings), epoch=2, steps_per_epoch=3, epochs=4).tolist() == whole[6:9]


# ---------------------------------------------------------------- the paper's four phases
PHASES = {"burnin_epochs": 3, "burnin_lr": 0.0001, "warmup_epochs": 10, "flat_epochs": 5, "cooldown_epochs": 20}


def four_phases(**settings):
    """The paper's schedule, with other settings of its phases."""
    phases = FourPhases(**{**PHASES, **settings})
    return {"name": "four_phases", "min_lr": 0.0001, "max_lr": 0.03, "four_phases": phases}


PAPER = four_phases()


def test_the_four_phases_of_the_papers_first_experiment():
    found = rates(**PAPER, steps_per_epoch=1, epochs=38)
    expected = {
        **dict.fromkeys((0, 1, 2, 3), 0.0001),
        8: 0.01505,
        12: 0.029268,
        **dict.fromkeys((13, 14, 15, 16, 17), 0.03),
        18: 0.029816,
        27: 0.01505,
        37: 0.0001,
    }
    assert {epoch: round(found[epoch], 6) for epoch in expected} == expected
    rising, falling = found[3:14], found[17:38]
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True)


def test_the_rate_changes_per_epoch_or_with_per_step_per_step():
    by_epoch = rates(**PAPER, steps_per_epoch=4, epochs=38)
    assert by_epoch == np.repeat(rates(**PAPER, steps_per_epoch=1, epochs=38), 4).tolist()
    by_step = rates(**four_phases(per_step=True), steps_per_epoch=4, epochs=38)
    assert by_step[:13] == [0.0001] * 13  # burn-in, and the first step of warm-up
    assert by_step[3 * 4 + 20] == pytest.approx(0.01505)  # half of the warm-up's 40 steps
    assert by_step[13 * 4 : 18 * 4] == [0.03] * 20
    assert by_step[-1] == pytest.approx(0.0001)
    assert len(set(by_step[18 * 4 :])) == 80


def test_every_epoch_has_its_phase():
    schedule = Schedule(**PAPER)
    phases = [phase(schedule, epoch) for epoch in range(38)]
    assert phases == ["burnin"] * 3 + ["warmup"] * 10 + ["flat"] * 5 + ["cooldown"] * 20
    assert phase(Schedule(name="cosine"), 0) == "training"


def test_only_four_phases_has_burn_in_epochs():
    assert burnin_epochs(Schedule(**PAPER)) == 3
    assert [burnin_epochs(Schedule(name=name)) for name in SCHEDULES if name != "four_phases"] == [0, 0, 0]


def test_a_phase_may_be_omitted():
    settings = four_phases(burnin_epochs=0, flat_epochs=0, warmup_epochs=2, cooldown_epochs=2)
    assert rates(**settings, steps_per_epoch=1, epochs=4) == pytest.approx([0.0001, 0.01505, 0.01505, 0.0001])
    assert [phase(Schedule(**settings), epoch) for epoch in range(4)] == ["warmup", "warmup", "cooldown", "cooldown"]
