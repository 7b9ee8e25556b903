"""Recipe `memory-fair`: published ImageNet networks, by parameters, work, error and memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torchvision

from densenet_solutions.measure import count_flops, predict_memory
from densenet_solutions.models.catalogue import network
from densenet_solutions.records.recorder import Recipe


@dataclass(frozen=True)
class FairModel:
    """A published ImageNet network; bytes are predicted peaks for 32 images of 224 by 224 pixels.

    `top1_error` is a percentage, `multiply_adds` belongs to one image.
    """

    name: str
    parameters: int
    multiply_adds: int
    top1_error: float
    training_bytes: int
    inference_bytes: int


FAIR_DENSENETS = ("densenet121", "densenet169", "densenet201")
FAIR_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


def fair_model(name: str, device: str) -> FairModel:
    """Parameters, work, published error and predicted memory (batch 32, 224²) of one network."""
    net = network(name)
    shape = net.shape(32, 224)
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    with torch.device("meta"):
        model = net.build()
    return FairModel(
        name=name,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        multiply_adds=count_flops(model, net.shape(1, 224)).multiply_adds,
        top1_error=100 - weights.meta["_metrics"]["ImageNet-1K"]["acc@1"],
        training_bytes=predict_memory(net.build, shape).peak_bytes,
        inference_bytes=predict_memory(net.build, shape, train=False).peak_bytes,
    )


def recipe() -> Recipe:
    """Recipe `memory-fair`: what the three fair comparisons are read from."""
    return Recipe(
        name="memory-fair",
        cases={name: name for name in (*FAIR_DENSENETS, *FAIR_RESNETS)},
        measure=fair_model,
    )
