"""Images that appear twice are told."""

import time
from dataclasses import replace

import numpy as np

from cifar_imbalance.data.copies import notes_on_copies
from cifar_imbalance.data.image_sets import ImageSet


def images(hashes, labels):
    count = len(labels)
    pixels = np.zeros((count, 2, 2, 3), np.uint8)
    order = np.arange(count, dtype=np.int64)
    return ImageSet(pixels, np.array(labels), np.array(hashes, np.uint64), order, ("cat", "dog"), "made for a test")


def test_copies_in_the_test_images_and_images_of_two_classes_are_told():
    train = images([1, 2, 3, 3, 4, 4], [0, 0, 0, 1, 1, 1])
    test = images([9, 4, 2], [0, 1, 0])
    assert notes_on_copies(train, test) == [
        "2 test images are also training images, the first is image 1, a dog",
        "2 training images are in more than one class, the first is image 2, a cat",
    ]


def test_copies_in_the_validation_images_are_told_with_their_file():
    train, test = images([1, 2], [0, 1]), images([9], [0])
    validation = replace(images([1], [1]), files=("train/dog/7.png",))
    assert notes_on_copies(train, test, validation) == [
        "1 validation image is also training images, the first is train/dog/7.png",
        "1 training image is in more than one class, the first is image 0, a cat",
    ]


def test_a_copy_within_a_class_is_no_contradiction():
    assert notes_on_copies(images([1, 2, 2], [0, 1, 1]), images([3, 4, 4], [0, 1, 1])) == []


def test_sixty_thousand_images_take_a_fraction_of_a_second():
    hashes = np.random.default_rng(0).integers(0, 2**63, 60_000)
    started = time.perf_counter()
    assert notes_on_copies(images(hashes[:50_000], np.arange(50_000) % 2), images(hashes[50_000:], [0] * 10_000)) == []
    assert time.perf_counter() - started < 2
