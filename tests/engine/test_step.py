"""The pure function of a step, and the classes that call it."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from cifar_imbalance import keys
from cifar_imbalance.augment.policy import Policy
from cifar_imbalance.configuration.fields import Augmentation, Cmo, Cutmix, Loss, Mixing, Model, Runtime
from cifar_imbalance.engine.step import EvaluationStep, Network, training_loss
from cifar_imbalance.engine.update import WeightAverage, state_of
from cifar_imbalance.methods import mixing
from cifar_imbalance.methods.losses import LOSSES
from cifar_imbalance.methods.mixing import MIXING
from cifar_imbalance.models.build import build_model
from cifar_imbalance.runtimes.select import make_runtime


@pytest.fixture
def runtime():
    return make_runtime(Runtime(name="cpu"))


def network_of(runtime, **model):
    built = build_model(Model(name="test_efficientnet", **model), class_count=7, image_size=(32, 32), seed=0)
    return Network.on_device(built, runtime)


@pytest.fixture
def images():
    return torch.randint(0, 256, (23, 32, 32, 3), dtype=torch.uint8)


def test_the_loss_is_that_of_the_normalised_images_weighted_by_class(runtime, images):
    network = network_of(runtime)
    module = network.module.eval()
    labels = torch.arange(23) % 7
    indices = torch.tensor([3, 1, 22])
    weight = torch.arange(1.0, 8.0)
    loss, correct = training_loss(
        dict(module.named_parameters()),
        dict(module.named_buffers()),
        images.flatten(1),
        labels,
        indices,
        {},
        {"weight": weight},
        torch.tensor(0),
        network=network,
        policy=Policy(Augmentation(), height=32, width=32),
        loss=Loss(),
        mixing="none",
    )
    config = timm.data.resolve_model_data_config(module)
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
    logits = module((images[indices].permute(0, 3, 1, 2) / 255 - mean) / std)
    torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, labels[indices], weight=weight))
    assert correct == (logits.argmax(1) == labels[indices]).float().mean()


@pytest.mark.parametrize("name", [name for name in MIXING if name != "none"])
@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "gml"])  # which mixes with none
def test_of_mixed_images_both_labels_count_by_their_shares(runtime, images, name, loss):
    """The mean over all images of share * w_y * loss(y) and (1 - share) * w_y' * loss(y'), as loops would have it."""
    network = network_of(runtime)
    module, labels = network.module.eval(), torch.arange(23) % 7
    indices = np.arange(6)[None]
    settings = Mixing(name=name, cutmix=Cutmix(probability=1.0), cmo=Cmo(probability=1.0))
    drawn = mixing.draw(
        settings, keys.generator(3, "mixing"), labels.numpy(), indices, height=32, width=32, active=True
    )
    draws = {key: torch.from_numpy(values[0]) for key, values in drawn.items()}
    classes = {"weight": torch.arange(1.0, 8.0), "counts": torch.arange(3.0, 10.0)}
    found, _ = training_loss(
        dict(module.named_parameters()),
        dict(module.named_buffers()),
        images.flatten(1),
        labels,
        torch.from_numpy(indices[0]),
        draws,
        classes,
        torch.tensor(0),
        network=network,
        policy=Policy(Augmentation(), height=32, width=32),
        loss=Loss(name=loss),
        mixing=name,
    )
    partner = draws["mixing.partner"]  # the batch is the first images, so places in it are their indices
    pictures = images.permute(0, 3, 1, 2).float()
    batch = pictures[:6].clone()
    for k in range(6):
        if "mixing.share" in draws:
            share = draws["mixing.share"][k]
            batch[k] = share * batch[k] + (1 - share) * pictures[partner[k]]
        else:
            top, bottom, left, right = draws["mixing.box"][k].tolist()
            batch[k, :, top:bottom, left:right] = pictures[partner[k]][:, top:bottom, left:right]
    logits = network.logits(dict(module.named_parameters()), dict(module.named_buffers()), batch)
    total = weights = 0.0
    for k in range(6):
        share = draws["mixing.label_share"][k]
        for label, part in ((labels[k], share), (labels[partner[k]], 1 - share)):
            value = LOSSES[loss](logits[k : k + 1], label[None], classes, Loss(name=loss))[0]
            weight = part * classes["weight"][label]
            total, weights = total + weight * value, weights + weight
    torch.testing.assert_close(found, total / weights)


def test_a_gathered_batch_is_channels_last_in_memory(runtime, images):
    batch = network_of(runtime).gather(images.flatten(1), torch.arange(5))
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, images[:5].permute(0, 3, 1, 2).float())


def test_resolution_resizes_inside_the_step(runtime, images):
    network = network_of(runtime, resolution=0.5)
    assert network.input_size == (80, 80)  # test_efficientnet is natively 160
    seen = []
    network.module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    EvaluationStep(network, images.numpy(), batch_size=23)(network.module)
    assert seen == [(23, 3, 80, 80)]


def test_padding_the_last_batch_changes_nothing(runtime, images):
    network = network_of(runtime)
    whole = EvaluationStep(network, images[:20].numpy(), batch_size=10)(network.module)
    part = EvaluationStep(network, images[:13].numpy(), batch_size=10)(network.module)
    assert torch.equal(part, whole[:13])


def test_the_average_of_weights_is_exponential():
    source, module = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    average = WeightAverage(state_of(module), state_of(source), decay=0.9)
    expected = torch.ones(3)
    for value in (2.0, 5.0):
        nn.init.constant_(source.weight, value)
        source.num_batches_tracked += 1
        average.update()
        expected = 0.9 * expected + 0.1 * value
    torch.testing.assert_close(module.weight.detach(), expected)
    assert module.num_batches_tracked == 2
