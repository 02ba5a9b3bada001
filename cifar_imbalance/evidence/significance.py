"""Significance tests of the differences between two models, class by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, false_discovery_control

from cifar_imbalance.evidence.combination import paired
from cifar_imbalance.evidence.metrics import wilson_interval
from cifar_imbalance.evidence.predictions import Predictions

FALSE_DISCOVERY_RATE = 0.05
FEWEST_IMAGES = 6  # with fewer, even if one model alone is right on all of them, McNemar's exact p is above 0.05
TEST_IMAGES_ALONE = (
    "Intervals and tests, gained and lost cover the noise of the test images alone: runs of other seeds differ as well."
)


@dataclass(frozen=True, eq=False)
class PairedTest:
    """McNemar's exact test of each class, arrays [K]; NaN for a class without images."""

    only_second: NDArray[np.int64]  # images that only the second model classified correctly
    only_first: NDArray[np.int64]  # images that only the first classified correctly
    p: NDArray[np.float64]
    adjusted_p: NDArray[np.float64]  # adjusted for the number of classes (Benjamini and Hochberg 1995)

    @property
    def beyond_noise(self) -> NDArray[np.bool_]:
        return self.adjusted_p <= FALSE_DISCOVERY_RATE


def paired_test(first: Predictions, second: Predictions) -> PairedTest:
    """Test, on the same images, whether either model is as likely to be the only correct one (McNemar 1947).

    Raises UsageError if the images differ.
    """
    first, second = paired([first, second])
    classes = len(first.class_names)
    right_1, right_2 = (each.predicted == each.labels for each in (first, second))
    only_second = np.bincount(first.labels[right_2 & ~right_1], minlength=classes)
    only_first = np.bincount(first.labels[right_1 & ~right_2], minlength=classes)
    present = np.bincount(first.labels, minlength=classes) > 0
    p, adjusted = np.full(classes, np.nan), np.full(classes, np.nan)
    for index in np.flatnonzero(present):
        differing = int(only_second[index] + only_first[index])
        p[index] = binomtest(int(only_second[index]), differing).pvalue if differing else 1.0
    adjusted[present] = false_discovery_control(p[present])
    return PairedTest(only_second, only_first, p, adjusted)


def difference_interval(
    first: NDArray[np.float64], second: NDArray[np.float64], *, images_1: NDArray[np.int64], images_2: NDArray[np.int64]
) -> NDArray[np.float64]:
    """95 % interval of second - first, proportions [K] of independent samples: [2, K]; NaN where one is NaN.

    Newcombe 1998, method 10: from Wilson's intervals of the two.
    """
    interval = np.full((2, len(first)), np.nan)
    for k in np.flatnonzero(~np.isnan(first) & ~np.isnan(second)):
        (low_1, high_1), (low_2, high_2) = (
            wilson_interval(round(share * images), int(images))
            for share, images in ((first[k], images_1[k]), (second[k], images_2[k]))
        )
        difference = second[k] - first[k]
        interval[0, k] = difference - np.hypot(second[k] - low_2, high_1 - first[k])
        interval[1, k] = difference + np.hypot(high_2 - second[k], first[k] - low_1)
    return interval
