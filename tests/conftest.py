"""Where the real images and weights are."""

import os
from pathlib import Path

import pytest

VARIABLE = "CIFAR_IMBALANCE_DATA"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with cifar100/ and cifar10/ (train/CLASS/IMAGE, test/CLASS/IMAGE) and lite0.safetensors."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"real images and weights are wanted: set {VARIABLE} to their folder")
    return Path(folder)
