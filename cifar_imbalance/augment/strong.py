"""Strong augmentation on the host: a few of Pillow's operators for each image, drawn from a table.

AutoAugment (Cubuk 2019), RandAugment (Cubuk 2020), TrivialAugment (Müller 2021) and the levels of CUDA (Ahn 2023).
An operator's value is base + sign * span * share: the share is the strength, 0 to 1, and the sign random where it is
signed. Draws are "numbers" and "values" [steps, batch, operators] under the method's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from cifar_imbalance.augment.operator import Drawn, Draws, Operator
from cifar_imbalance.augment.pillow_operators import NUMBERS, applied
from cifar_imbalance.configuration.fields import AutoAugment, Cuda, RandAugment, TrivialAugment

HIGHEST_LEVEL = 10  # of CUDA
LEVELS_OF_FULL_STRENGTH = 30  # a level of CUDA is so many of full strength


class Entry(NamedTuple):
    """An operator of a table."""

    name: str
    base: float = 0.0
    span: float = 0.0
    signed: bool = False


def _common(*, shear: float, pixels: tuple[float, float], degrees: float, factor: float, bits: float) -> list[Entry]:
    """The operators that the methods share, at these largest strengths; `pixels` along x and y."""
    moves = [("shear_x", shear), ("shear_y", shear), ("translate_x", pixels[0]), ("translate_y", pixels[1])]
    moves += [("rotate", degrees)]
    factors = ("brightness", "color", "contrast", "sharpness")
    return [
        *(Entry(name, 0.0, span, signed=True) for name, span in moves),
        *(Entry(name, 1.0, factor, signed=True) for name in factors),
        Entry("posterize", 8.0, -bits),
        Entry("solarize", 255.0, -255.0),
        Entry("autocontrast"),
        Entry("equalize"),
    ]


def auto_augment_table(height: int, width: int) -> list[Entry]:
    """Cubuk 2019, table 6, in torchvision's ranges."""
    pixels = (width * 150 / 331, height * 150 / 331)
    return [*_common(shear=0.3, pixels=pixels, degrees=30.0, factor=0.9, bits=4.0), Entry("invert")]


def rand_augment_table(height: int, width: int) -> list[Entry]:
    pixels = (width * 150 / 331, height * 150 / 331)
    return [Entry("identity"), *_common(shear=0.3, pixels=pixels, degrees=30.0, factor=0.9, bits=4.0)]


def trivial_augment_table(height: int, width: int) -> list[Entry]:
    """The wide ranges of Müller 2021."""
    return [Entry("identity"), *_common(shear=0.99, pixels=(32, 32), degrees=135.0, factor=0.99, bits=6.0)]


_WITHOUT_STRENGTH = ("flip", "mirror", "edge_enhance", "detail", "smooth", "autocontrast", "equalize", "invert")


def cuda_published_table(height: int, width: int) -> list[Entry]:
    """As in Ahn 2023's code; not monotone: factors change least at half strength, solarize most at 0, and posterize
    leaves a single bit at each of the levels up to 10.

    Rotated, sheared and moved images are filled with augmentation.cuda.fill, by default black as there.
    """
    moves = (("rotate", 30.0), ("shear_x", 0.3), ("shear_y", 0.3), ("translate_x", 100.0), ("translate_y", 100.0))
    return [
        *map(Entry, _WITHOUT_STRENGTH),
        Entry("gaussian_blur", 0.0, 2.0),
        Entry("enlarge", 1.0, 0.5),
        Entry("posterize_some", 0.0, 4.0),
        Entry("solarize", 0.0, 256.0),
        Entry("solarize_add", 0.0, 110.0),
        *(Entry(name, 0.1, 1.8) for name in ("color", "contrast", "brightness", "sharpness")),
        *(Entry(name, 0.0, span, signed=True) for name, span in moves),
    ]


def cuda_monotone_table(height: int, width: int) -> list[Entry]:
    """The same operators, but those with a strength change an image the more, the higher the level (posterize from 4).

    Translations fit small images.
    """
    moves = (("rotate", 30.0), ("shear_x", 0.3), ("shear_y", 0.3))
    return [
        *map(Entry, _WITHOUT_STRENGTH),
        Entry("gaussian_blur", 0.0, 2.0),
        Entry("enlarge", 1.0, 0.5),
        Entry("posterize", 8.0, -4.0),
        Entry("solarize", 256.0, -128.0),
        Entry("solarize_add", 0.0, 110.0),
        *(Entry(name, 1.0, 0.9, signed=True) for name in ("color", "contrast", "brightness", "sharpness")),
        *(Entry(name, 0.0, span, signed=True) for name, span in moves),
        Entry("translate_x", 0.0, width * 10 / 32, signed=True),
        Entry("translate_y", 0.0, height * 10 / 32, signed=True),
    ]


CUDA_TABLES = {"published": cuda_published_table, "monotone": cuda_monotone_table}


# ---------------------------------------------------------------- draws
def _drawn(name: str, table: list[Entry], places: np.ndarray, shares: np.ndarray, signs: np.ndarray) -> Draws:
    """The draws of operators at `places` of the table, -1 for none, with their strengths of 0..1 and signs of +-1."""
    numbers = np.array([*(NUMBERS[entry.name] for entry in table), NUMBERS["identity"]], dtype=np.int16)
    base, span = (np.array([*(getattr(entry, key) for entry in table), 0.0]) for key in ("base", "span"))
    signed = np.array([*(entry.signed for entry in table), False])
    values = base[places] + np.where(signed[places], signs, 1.0) * span[places] * shares
    return {f"{name}.numbers": numbers[places], f"{name}.values": values.astype(np.float32)}


def _signs(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.where(generator.random(shape) < 0.5, -1.0, 1.0)


@cache
def _sub_policies() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CIFAR-10's sub-policies as torchvision has them: places in the table, probabilities, strengths, [25, 2] each."""
    from torchvision.transforms import AutoAugment as Torchvisions
    from torchvision.transforms import AutoAugmentPolicy

    ours = {entry.name.replace("_", ""): place for place, entry in enumerate(auto_augment_table(1, 1))}
    policies = Torchvisions(AutoAugmentPolicy.CIFAR10).policies
    places = [[ours[name.lower()] for name, _, _ in policy] for policy in policies]
    probabilities = [[probability for _, probability, _ in policy] for policy in policies]
    strengths = [[(strength or 0) / 9 for _, _, strength in policy] for policy in policies]
    return np.array(places), np.array(probabilities), np.array(strengths)


def draw_auto_augment(generator: np.random.Generator, settings: AutoAugment, images: Drawn) -> Draws:
    """One of the sub-policies for each image, each of whose two operators happens with its probability."""
    places, probabilities, strengths = _sub_policies()
    chosen = generator.integers(len(places), size=images.shape)
    shape = (*images.shape, 2)
    happens = generator.random(shape) < probabilities[chosen]
    table = auto_augment_table(images.height, images.width)
    picked = np.where(happens, places[chosen], -1)
    return _drawn("auto_augment", table, picked, strengths[chosen], _signs(generator, shape))


def draw_rand_augment(generator: np.random.Generator, settings: RandAugment, images: Drawn) -> Draws:
    """`operators` of the table, with replacement, all at the same strength."""
    shape, table = (*images.shape, settings.operators), rand_augment_table(images.height, images.width)
    places = generator.integers(len(table), size=shape)
    return _drawn("rand_augment", table, places, np.full(shape, settings.magnitude / 30), _signs(generator, shape))


def draw_trivial_augment(generator: np.random.Generator, settings: TrivialAugment, images: Drawn) -> Draws:
    """One operator at one of 31 strengths."""
    shape, table = (*images.shape, 1), trivial_augment_table(images.height, images.width)
    places, strengths = generator.integers(len(table), size=shape), generator.integers(31, size=shape) / 30
    return _drawn("trivial_augment", table, places, strengths, _signs(generator, shape))


def draw_cuda(generator: np.random.Generator, settings: Cuda, images: Drawn) -> Draws:
    """As many operators as the level of the image's class, with `probability`, each at a strength of the level / 30."""
    happens = generator.random(images.shape) < settings.probability
    levels = np.where(happens, images.levels[images.labels], 0)
    return _at_levels(generator, levels, CUDA_TABLES[settings.table](images.height, images.width))


def _at_levels(generator: np.random.Generator, levels: np.ndarray, table: list[Entry]) -> Draws:
    """The draws of images at `levels` [...] of CUDA."""
    shape, levels = (*levels.shape, HIGHEST_LEVEL), levels[..., None]
    places = np.where(np.arange(HIGHEST_LEVEL) < levels, generator.integers(len(table), size=shape), -1)
    strengths = np.broadcast_to(levels / LEVELS_OF_FULL_STRENGTH, shape)
    return _drawn("cuda", table, places, strengths, _signs(generator, shape))


def at_levels(
    generator: np.random.Generator,
    images: UInt8[np.ndarray, "batch height width 3"],
    levels: Int64[np.ndarray, " batch"],
    settings: Cuda,
) -> UInt8[np.ndarray, "batch height width 3"]:
    """Images augmented at a level of CUDA each, as its counting pass needs them."""
    draws = _at_levels(generator, levels, CUDA_TABLES[settings.table](*images.shape[1:3]))
    return np.asarray(OPERATORS["cuda"].apply(images, draws, settings))


# ---------------------------------------------------------------- application
def _apply(name: str) -> Any:
    def apply(
        images: UInt8[np.ndarray, "batch height width 3"], draws: Mapping[str, np.ndarray], settings: Any
    ) -> UInt8[np.ndarray, "batch height width 3"]:
        fill = (round(settings.fill),) * 3
        numbers, values = draws[f"{name}.numbers"], draws[f"{name}.values"].tolist()
        result = images.copy()
        for k in np.flatnonzero(numbers.any(axis=1)):
            image = applied(Image.fromarray(images[k]), numbers[k].tolist(), values[k], fill)
            result[k] = np.asarray(image)
        return result

    return apply


OPERATORS = {
    "auto_augment": Operator(draw_auto_augment, _apply("auto_augment"), on_host=True),
    "rand_augment": Operator(draw_rand_augment, _apply("rand_augment"), on_host=True),
    "trivial_augment": Operator(draw_trivial_augment, _apply("trivial_augment"), on_host=True),
    "cuda": Operator(draw_cuda, _apply("cuda"), on_host=True),
}
