"""The images of the mistakes as one picture, in which the page finds those of a pair of classes."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from cifar_imbalance.data.identity import image_hashes
from cifar_imbalance.evidence.predictions import Predictions

IMAGES_UP_TO = 1200
OF_A_PAIR = 12
LARGEST_TILE = 48  # pixels; larger images are reduced
QUALITY = 80

Images = UInt8[np.ndarray, "images height width 3"]


def sprite_of_mistakes(predictions: Predictions, images: Images) -> tuple[str, int, int, dict[str, list[int]]]:
    """A WebP picture as a data: address, the side of an image in it, the images in a row, and the places of each pair.

    The `images`, in any order, are found by their hashes; mistakes that are not among them are left out.
    Of each pair of true and predicted class the surest mistakes come first, OF_A_PAIR at most; of the pairs the worst
    confused. Pairs are named "true,predicted".
    """
    answers, labels = predictions.predicted, predictions.labels
    wrong = np.flatnonzero(answers != labels)
    rows = np.arange(len(labels))
    margins = predictions.logits[rows, answers] - predictions.logits[rows, labels]
    wrong = wrong[np.argsort(-margins[wrong], kind="stable")]
    place_of = {int(hashed): place for place, hashed in enumerate(image_hashes(images))}
    wrong = wrong[[int(hashed) in place_of for hashed in predictions.hashes[wrong]]]
    of_pair: dict[tuple[int, int], list[int]] = {}
    for image in wrong:
        of_pair.setdefault((int(labels[image]), int(answers[image])), []).append(int(image))
    chosen: list[int] = []
    places: dict[str, list[int]] = {}
    for (true, predicted), of_this in sorted(of_pair.items(), key=lambda item: (-len(item[1]), item[0])):
        taken = of_this[: min(OF_A_PAIR, IMAGES_UP_TO - len(chosen))]
        if not taken:
            break
        places[f"{true},{predicted}"] = list(range(len(chosen), len(chosen) + len(taken)))
        chosen += taken
    if not chosen:
        return "", 0, 0, {}
    tile = min(max(images.shape[1:3]), LARGEST_TILE)
    across = math.ceil(math.sqrt(len(chosen)))
    picture = Image.new("RGB", (across * tile, math.ceil(len(chosen) / across) * tile))
    for place, number in enumerate(chosen):
        one = Image.fromarray(images[place_of[int(predictions.hashes[number])]])
        one.thumbnail((tile, tile))
        picture.paste(one, (place % across * tile, place // across * tile))
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}", tile, across, places
