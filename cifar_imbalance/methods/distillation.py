"""Learning from a teacher's logits as well as from the labels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Logits = Float[Tensor, "batch classes"]
OfImages = Float[Tensor, " batch"]


def distilled(losses: OfImages, logits: Logits, teacher: Logits, share: OfImages, temperature: float) -> OfImages:
    """(1 - share) times the label's loss plus share T^2 KL(teacher || student), softened by T (Hinton 2015).

    T^2 keeps the size of the gradients. `share`, 0 to 1, is that of each image's class.
    """
    student = functional.log_softmax(logits / temperature, dim=1)
    target = functional.log_softmax(teacher / temperature, dim=1)
    divergence = (target.exp() * (target - student)).sum(dim=1)
    return (1.0 - share) * losses + share * temperature**2 * divergence
