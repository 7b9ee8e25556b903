"""Networks: every DenseNet of the paper, the book's two networks, and the dense MLP."""

from densenet_solutions.models.catalogue import NETWORKS as NETWORKS
from densenet_solutions.models.catalogue import Network as Network
from densenet_solutions.models.config import DenseNetConfig as DenseNetConfig
from densenet_solutions.models.densenet import DenseNet as DenseNet
from densenet_solutions.models.mlp import DenseMLP as DenseMLP
from densenet_solutions.models.resnet import book_resnet18 as book_resnet18
from densenet_solutions.models.variants import BOOK as BOOK
from densenet_solutions.models.variants import TABLE_1 as TABLE_1
from densenet_solutions.models.variants import TABLE_2 as TABLE_2
from densenet_solutions.models.variants import Variant as Variant
from densenet_solutions.models.variants import book_densenet as book_densenet
from densenet_solutions.models.variants import cifar_config as cifar_config
from densenet_solutions.models.variants import cifar_densenet as cifar_densenet
from densenet_solutions.models.variants import densenet121 as densenet121
from densenet_solutions.models.variants import densenet161 as densenet161
from densenet_solutions.models.variants import densenet169 as densenet169
from densenet_solutions.models.variants import densenet201 as densenet201
from densenet_solutions.models.variants import densenet264 as densenet264
from densenet_solutions.models.weights import load_densenet_weights as load_densenet_weights
