"""Figures are saved as the defaults say, whatever a run in this process has set before."""

import pytest


@pytest.fixture(autouse=True)
def default_plots():
    from cifar_imbalance.configuration.fields import Plots
    from cifar_imbalance.report.plots import canvas

    canvas.use(Plots())
