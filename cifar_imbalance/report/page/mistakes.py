"""The images of the mistakes, each in one picture in which the page finds them."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from cifar_imbalance.data.identity import image_hashes
from cifar_imbalance.evidence.mistakes import Confused, confused_pairs
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report.page.parts import Gallery, GalleryImage, Sprite
from cifar_imbalance.terminal import one_line

IMAGES_UP_TO = 1200
OF_A_PAIR = 12
LARGEST_TILE = 48  # pixels; larger images are reduced
GALLERY_PAIRS = 12
GALLERY_OF_A_PAIR = 4
LARGEST_GALLERY_TILE = 112
QUALITY = 80

Images = UInt8[np.ndarray, "images height width 3"]


class Mistakes:
    """The wrongly classified images of `predictions` among `images`, which are in any order: hashes pair them."""

    def __init__(self, predictions: Predictions, images: Images) -> None:
        self._predictions, self._images = predictions, images
        self._place_of = {int(hashed): place for place, hashed in enumerate(image_hashes(images))}
        known = np.fromiter((int(hashed) in self._place_of for hashed in predictions.hashes), bool)
        self.pairs = confused_pairs(predictions, known)

    def image(self, place: int) -> UInt8[np.ndarray, "height width 3"]:
        """The image at this place of the predictions."""
        return self._images[self._place_of[int(self._predictions.hashes[place])]]

    def sprite(self) -> tuple[Sprite, dict[str, list[int]]]:
        """A picture of the surest mistakes of each pair, and where in it those of "true,predicted" are.

        OF_A_PAIR of each pair at most, IMAGES_UP_TO in all, the most confused pairs first.
        """
        chosen: list[int] = []
        places: dict[str, list[int]] = {}
        for pair in self.pairs:
            taken = pair.places[: min(OF_A_PAIR, IMAGES_UP_TO - len(chosen))].tolist()
            if not taken:
                break
            places[f"{pair.true},{pair.predicted}"] = list(range(len(chosen), len(chosen) + len(taken)))
            chosen += taken
        return self._sprite(chosen, LARGEST_TILE), places

    def worst(self) -> list[Confused]:
        """The most confused pairs, each with its surest mistakes."""
        some = GALLERY_OF_A_PAIR
        return [
            Confused(one.true, one.predicted, one.places[:some], one.probabilities[:some])
            for one in self.pairs[:GALLERY_PAIRS]
        ]

    def gallery(self, *, with_pairs: bool) -> Gallery:
        """The images of `worst`; each leads to those of its pair in the panel, if the page has one (`with_pairs`)."""
        names, files = self._predictions.class_names, self._predictions.files
        pairs = self.worst()
        shown = [
            GalleryImage(
                true=names[one.true],
                predicted=names[one.predicted],
                probability=float(probability),
                file="" if files is None else one_line(str(files[place])),
                pair=(one.true, one.predicted) if with_pairs else None,
            )
            for one in pairs
            for place, probability in zip(one.places, one.probabilities, strict=True)
        ]
        chosen = [int(place) for one in pairs for place in one.places]
        return Gallery(self._sprite(chosen, LARGEST_GALLERY_TILE), shown)

    def _sprite(self, chosen: Sequence[int], largest: int) -> Sprite:
        """The images at these places of the predictions as a WebP picture, in rows."""
        if not chosen:
            return Sprite()
        tile = min(max(self._images.shape[1:3]), largest)
        across = math.ceil(math.sqrt(len(chosen)))
        picture = Image.new("RGB", (across * tile, math.ceil(len(chosen) / across) * tile))
        for place, number in enumerate(chosen):
            one = Image.fromarray(self.image(number))
            one.thumbnail((tile, tile))
            picture.paste(one, (place % across * tile, place // across * tile))
        content = io.BytesIO()
        picture.save(content, "WEBP", quality=QUALITY, method=4)
        return Sprite(f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}", tile, across)
