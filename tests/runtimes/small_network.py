"""A network of two convolutions, registered with timm as `small_network`: XLA compiles its steps in a second."""

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn


class SmallNetwork(nn.Module):
    def __init__(self, num_classes=10, in_chans=3, global_pool="avg", drop_rate=0.0):
        super().__init__()
        self.num_classes, self.num_features = num_classes, 16
        self.conv1 = nn.Conv2d(in_chans, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return self.fc(self.drop(x.mean((2, 3))))


default_cfgs = generate_default_cfgs(
    {
        "small_network": {
            "num_classes": 10,
            "input_size": (3, 8, 8),
            "mean": (0.5, 0.5, 0.5),
            "std": (0.25, 0.25, 0.25),
            "first_conv": "conv1",
            "classifier": "fc",
        }
    }
)


@register_model
def small_network(pretrained=False, **settings):
    return build_model_with_cfg(SmallNetwork, "small_network", pretrained, **settings)
