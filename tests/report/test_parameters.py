"""How the parameters of trials are shown."""

from cifar_imbalance.report.parameters import shown_parameters


def test_the_numbers_of_a_parameter_have_equally_many_digits():
    drawn = [
        {"schedule.max_lr": "0.0369998", "training.epochs": "3", "loss": "focal", "model.dropout": "0.1"},
        {"schedule.max_lr": "0.00597258", "training.epochs": "12", "loss": "ldam", "loss.tau": "1.5"},
        {"schedule.max_lr": "0.0007718", "training.epochs": "3", "loss": "ldam", "model.dropout": "0.25"},
    ]
    assert shown_parameters(drawn) == {
        "schedule.max_lr": ["0.03700", "0.005973", "0.0007718"],
        "training.epochs": ["3", "12", "3"],
        "loss": ["focal", "ldam", "ldam"],
        "model.dropout": ["0.10", "-", "0.25"],
        "loss.tau": ["-", "1.5", "-"],
    }


def test_large_numbers_keep_their_whole_part():
    assert shown_parameters([{"x": "12.5"}, {"x": "123456"}]) == {"x": ["12.5000", "123456"]}
    assert shown_parameters([{"x": "0"}, {"x": "-0.5"}]) == {"x": ["0", "-0.5"]}
