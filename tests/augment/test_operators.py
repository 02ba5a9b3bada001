"""Each operator against a slow reference that treats one image at a time."""

import colorsys

import numpy as np
import pytest
import torch
from scipy import ndimage

from cifar_imbalance.augment.borders import translate
from cifar_imbalance.augment.color_jitter import color_jitter
from cifar_imbalance.augment.cutout import cutout, half_square
from cifar_imbalance.augment.flip import flip
from cifar_imbalance.augment.rotation import rotate

HEIGHT, WIDTH = 12, 9


@pytest.fixture
def images():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, HEIGHT, WIDTH)).astype(np.float32))


def test_flip_changes_only_the_flipped_images(images):
    flipped = torch.tensor([True, False, True, False, False, True])
    result = flip(images, flipped)
    for image, mirrored, after in zip(images.numpy(), flipped, result.numpy(), strict=True):
        assert np.array_equal(after, image[:, :, ::-1] if mirrored else image)


ROWS = torch.tensor([0, 3, -3, 11, -11, 1], dtype=torch.int32)
COLUMNS = torch.tensor([0, -2, 8, -8, 5, 1], dtype=torch.int32)


@pytest.mark.parametrize(("border", "mode"), [("reflect", {}), ("constant", {"constant_values": 7.0})])
def test_translate_is_a_window_of_the_padded_image(images, border, mode):
    result = translate(images, ROWS, COLUMNS, border, 7.0)
    for image, row, column, after in zip(images.numpy(), ROWS, COLUMNS, result.numpy(), strict=True):
        up, left = HEIGHT - 1, WIDTH - 1
        padded = np.pad(image, ((0, 0), (up, up), (left, left)), mode=border, **mode)
        window = padded[:, up - row :, left - column :][:, :HEIGHT, :WIDTH]
        assert np.array_equal(after, window)


def test_a_positive_translation_goes_down_and_right():
    image = torch.zeros(1, 3, 4, 4)
    image[:, :, 1, 1] = 255.0
    moved = translate(image, torch.tensor([2]), torch.tensor([1]), "constant", 0.0)
    assert moved[0, 0].nonzero().tolist() == [[3, 2]]


def test_reflection_does_not_repeat_the_edge():
    image = torch.tensor([1.0, 2.0, 3.0]).expand(1, 3, 3, 3)
    moved = translate(image, torch.tensor([0]), torch.tensor([2]), "reflect", 0.0)
    assert moved[0, 0, 0].tolist() == [3.0, 2.0, 1.0]


def test_a_translation_beyond_the_image_leaves_only_fill(images):
    far = torch.full((6,), 100)
    assert (translate(images, far, -far, "constant", 9.0) == 9.0).all()


def turned(images, degrees, border="constant", fill=0.0):
    angles = np.deg2rad(np.full(len(images), degrees))
    return rotate(
        images, torch.from_numpy(np.sin(angles)).float(), torch.from_numpy(np.cos(angles)).float(), border, fill
    )


def test_a_rotation_by_90_degrees_equals_numpys(images):
    square = images[:, :, :WIDTH]
    torch.testing.assert_close(turned(square, 90), square.rot90(1, (2, 3)), rtol=0, atol=1e-3)
    torch.testing.assert_close(turned(square, 180), square.rot90(2, (2, 3)), rtol=0, atol=1e-3)
    assert torch.equal(turned(images, 0), images)


@pytest.mark.parametrize(("border", "mode"), [("reflect", "mirror"), ("constant", "grid-constant")])
def test_rotation_equals_scipys(images, border, mode):
    result = turned(images, 25, border, 7.0)
    for image, after in zip(images.numpy(), result.numpy(), strict=True):
        expected = ndimage.rotate(image, 25, axes=(1, 2), reshape=False, order=1, mode=mode, cval=7.0)
        np.testing.assert_allclose(after, expected, atol=0.01)


def test_cutout_fills_clipped_squares(images):
    generator = np.random.default_rng(1)
    centers = np.stack([generator.integers(0, HEIGHT, (6, 2)), generator.integers(0, WIDTH, (6, 2))], axis=-1)
    result = cutout(images, torch.from_numpy(centers), 0.5, 127.0)
    half = int(0.5 * 9) // 2
    for image, squares, after in zip(images.numpy().copy(), centers, result.numpy(), strict=True):
        for row, column in squares:
            image[:, max(row - half, 0) : row + half, max(column - half, 0) : column + half] = 127.0
        assert np.array_equal(after, image)


def test_the_papers_cutout_square_is_8_of_32_pixels_wide():
    assert half_square(0.25, 32, 32) == 4
    image = cutout(torch.zeros(1, 3, 32, 32), torch.tensor([[[16, 16]]]), 0.25, 127.0)
    assert (image[0, 0] == 127.0).sum() == 64
    corner = cutout(torch.zeros(1, 3, 32, 32), torch.tensor([[[0, 0]]]), 0.25, 127.0)
    assert (corner[0, 0] == 127.0).sum() == 16


def jittered(image, contrast, saturation, brightness):
    """Jitter one image [3, height, width] with colorsys, pixel by pixel."""
    mean = image.mean(axis=(1, 2), keepdims=True)
    image = (image - mean) * contrast + mean
    for row in range(HEIGHT):
        for column in range(WIDTH):
            hue, share, value = colorsys.rgb_to_hsv(*(image[:, row, column]))
            image[:, row, column] = colorsys.hsv_to_rgb(hue, min(share * saturation, 1.0), value)
    return np.clip(image * brightness, 0, 255)


def test_color_jitter_applies_contrast_then_saturation_then_brightness(images):
    images = 60 + images * 0.5  # so that contrast gives no negative values, for which HSV is undefined
    factors = np.random.default_rng(2).uniform(0.5, 1.4, (3, 6)).astype(np.float32)
    result = color_jitter(images, torch.ones(6, dtype=torch.bool), *torch.from_numpy(factors))
    for image, (contrast, saturation, brightness), after in zip(
        images.double().numpy(), factors.T, result.numpy(), strict=True
    ):
        np.testing.assert_allclose(after, jittered(image, contrast, saturation, brightness), atol=1e-3)


def test_color_jitter_changes_only_the_selected_images(images):
    applied = torch.tensor([True, False, True, False, False, True])
    strong = torch.full((6,), 1.5)
    result = color_jitter(images, applied, strong, strong, strong)
    assert torch.equal(result[~applied], images[~applied])
    assert (result[applied] != images[applied]).any(dim=(1, 2, 3)).all()


def test_color_jitter_with_factors_1_changes_nothing(images):
    one = torch.ones(6)
    torch.testing.assert_close(color_jitter(images, one.bool(), one, one, one), images)


@pytest.mark.parametrize("value", [0.0, 100.0, 255.0])
def test_grey_stays_grey(value):
    grey, factor = torch.full((1, 3, 4, 4), value), torch.tensor([1.5])
    result = color_jitter(grey, torch.tensor([True]), torch.ones(1), factor, torch.ones(1))
    torch.testing.assert_close(result, grey)


def test_no_saturation_gives_the_value_in_every_channel(images):
    zero, one = torch.zeros(6), torch.ones(6)
    result = color_jitter(images, one.bool(), one, zero, one)
    torch.testing.assert_close(result, images.amax(dim=1, keepdim=True).expand(6, 3, HEIGHT, WIDTH))


def test_colors_stay_finite_and_within_0_and_255(images):
    for contrast, saturation, brightness in ((0.0, 9.0, 9.0), (9.0, 9.0, 1.0), (9.0, 0.0, 0.1)):
        factors = (torch.full((6,), factor) for factor in (contrast, saturation, brightness))
        result = color_jitter(images, torch.ones(6, dtype=torch.bool), *factors)
        assert result.isfinite().all() and result.min() >= 0 and result.max() <= 255


ONE = torch.ones(6)
OPERATIONS = {
    "flip": lambda images: flip(images, torch.tensor([True, False] * 3)),
    "rotate": lambda images: rotate(images, ONE * 0.6, ONE * 0.8, "reflect", 0.0),
    "rotate_constant": lambda images: rotate(images, ONE * 0.6, ONE * 0.8, "constant", 5.0),
    "reflect": lambda images: translate(images, ROWS, COLUMNS, "reflect", 0.0),
    "constant": lambda images: translate(images, ROWS, COLUMNS, "constant", 5.0),
    "cutout": lambda images: cutout(images, torch.full((6, 1, 2), 4), 0.5, 127.0),
    "color_jitter": lambda images: color_jitter(images, ONE.bool(), ONE * 0.8, ONE * 1.3, ONE * 1.1),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operators_preserve_the_memory_format(images, name):
    expected = OPERATIONS[name](images)
    result = OPERATIONS[name](images.contiguous(memory_format=torch.channels_last))
    assert expected.is_contiguous()
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operators_do_not_modify_their_input(images, name):
    before = images.clone()
    OPERATIONS[name](images)
    assert torch.equal(images, before)
