"""ResNets for images of 32 x 32 pixels (He 2016, section 4.2), among timm's models by name: resnet32_cifar.

The network of the long-tail literature: a 3 x 3 stem of 16 channels, three stages of basic blocks with 16, 32 and 64
channels, a mean over the map and a linear head; 0.46 million parameters at 32 layers and 10 classes.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.nn.functional import pad, relu

CHANNELS = (16, 32, 64)
# Of CIFAR-10's training images: the literature uses them for CIFAR-100, too (Cao 2019, cifar_train.py).
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions; the shortcut has no parameters (He 2016, option A)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self._stride, self._added = stride, (channels - channels_in) // 2

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Tensor:
        residual = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        if self._added:  # every second pixel, and zero channels on both sides
            x = pad(x[:, :, :: self._stride, :: self._stride], (0, 0, 0, 0, self._added, self._added))
        return relu(residual + x)


class ResNetCifar(nn.Module):
    """A ResNet of 6 n + 2 layers, with n blocks in each of three stages."""

    def __init__(
        self, blocks: int, num_classes: int = 10, in_chans: int = 3, global_pool: str = "avg", drop_rate: float = 0.0
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, CHANNELS[-1]
        self.conv1 = nn.Conv2d(in_chans, CHANNELS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS[0])
        layers: list[nn.Module] = []
        before = CHANNELS[0]
        for channels in CHANNELS:
            for number in range(blocks):
                layers.append(BasicBlock(before, channels, 2 if number == 0 and channels != before else 1))
                before = channels
        self.layers = nn.Sequential(*layers)
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(self.num_features, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)

    def forward_features(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 64 rows columns"]:
        features: Tensor = self.layers(relu(self.bn1(self.conv1(x))))
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        features = self.drop(x.mean((2, 3)))
        return features if pre_logits else self.fc(features)

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        return self.forward_head(self.forward_features(x))


default_cfgs = generate_default_cfgs(
    {
        "resnet32_cifar": {
            "num_classes": 10,
            "input_size": (3, 32, 32),
            "pool_size": (8, 8),
            "mean": MEAN,
            "std": STD,
            "first_conv": "conv1",
            "classifier": "fc",
        }
    }
)


@register_model
def resnet32_cifar(pretrained: bool = False, **kwargs: Any) -> ResNetCifar:
    """Five blocks in each stage: 0.46 million parameters at 10 classes."""
    model = build_model_with_cfg(ResNetCifar, "resnet32_cifar", pretrained, blocks=5, **kwargs)
    assert isinstance(model, ResNetCifar)
    return model
