"""The lines of the paper and of the book that say how each part of a DenseNet is built."""

from __future__ import annotations

from densenet_solutions.check.rows import Authority

#: topic → authority → the line that says how it is.
LINES = {
    "layer": {
        "paper": "Paper, section 3, Composite function: batch normalisation, then ReLU, then the "
        "convolution. Table 1: each “conv” is the sequence BN-ReLU-Conv.",
        "book": "Book, section 8.7.2: conv_block is normalisation, ReLU, convolution.",
    },
    "bottleneck": {
        "paper": "Paper, section 3, Bottleneck layers: BN-ReLU-Conv(1×1)-BN-ReLU-Conv(3×3), and "
        "each 1×1 convolution produces 4k feature maps; only what the 3×3 one adds is kept.",
        "plain": "Paper, Table 2: only rows with a B have bottlenecks.",
        "book": "Book, section 8.7.2: a layer is one 3×3 convolution; there is no bottleneck.",
    },
    "growth": {
        "paper": "Paper, section 3, Growth rate: each layer adds k feature maps. Table 1: k is 32 "
        "(48 in DenseNet-161); Table 2 gives the k of each row.",
        "book": "Book, section 8.7.4: the growth rate is 32.",
    },
    "dense": {
        "paper": "Paper, equation 2: x_ℓ = H_ℓ([x_0, x_1, …, x_ℓ−1]), a concatenation of all "
        "earlier features, the block's input among them.",
        "book": "Book, section 8.7.2: input and output of each layer are concatenated.",
    },
    "transition": {
        "paper": "Paper, section 3, Pooling layers: batch normalisation, a 1×1 convolution and a "
        "2×2 average pooling, between two blocks. (With BN-ReLU-Conv of Table 1.)",
        "book": "Book, section 8.7.3: normalisation, ReLU, 1×1 convolution, average pooling.",
    },
    "compression": {
        "paper": "Paper, section 3, Compression: a transition writes θ times its channels; θ is "
        "0.5 in DenseNet-BC, which is the DenseNet of Table 1.",
        "plain": "Paper, section 3, Compression: without the letter C, θ is 1.",
        "book": "Book, section 8.7.4: a transition halves the number of channels.",
    },
    "layers": {
        "paper": "Paper, Table 1 (for CIFAR section 3, Implementation Details): the number of "
        "layers of each block.",
        "book": "Book, section 8.7.4: four blocks of four layers.",
    },
    "stem": {
        "paper": "Paper, Table 1: a 7×7 convolution of stride 2 (2k channels), then a 3×3 max "
        "pooling of stride 2. On CIFAR (section 3, Implementation Details): one 3×3 convolution "
        "with 16 channels, or 2k in DenseNet-BC.",
        "book": "Book, section 8.7.4: 7×7 convolution of stride 2 with 64 channels, normalisation, "
        "ReLU, 3×3 max pooling of stride 2.",
    },
    "classifier": {
        "paper": "Paper, Table 1: a global average pooling and a fully-connected layer. The "
        "authors' code and torchvision normalise (norm5) and apply ReLU before them.",
        "book": "Book, section 8.7.4: normalisation, ReLU, global average pooling, linear layer.",
    },
    "dropout": {
        "paper": "Paper, section 4.2, Training: dropout of 0.2 only on CIFAR and SVHN without data "
        "augmentation, after each convolution but the first.",
        "book": "Book, section 8.7: no dropout.",
    },
    "bias": {
        "paper": "The authors' code and torchvision have none: the normalisation that follows "
        "takes a constant away again.",
        "book": "The book leaves PyTorch's default, which is a bias in every convolution.",
        "book resnet": "The book leaves PyTorch's default, which is a bias in every convolution.",
    },
    "classifier bias": {
        "paper": "The classifier is a fully-connected layer with a bias.",
    },
    "buffers": {
        "paper": "Running means, variances and counters are buffers: no step of the optimizer "
        "changes them, and no published count includes them.",
    },
    "projection": {
        "resnet": "He et al. (arXiv:1512.03385), section 3.3: the shortcut is a projection only "
        "where the dimensions increase.",
        "book resnet": "Book, section 8.6.3: only the first block of stages 2 to 4 is built with "
        "use_1x1conv=True.",
    },
    "projection norm": {
        "resnet": "He et al., section 3.4: batch normalisation follows each convolution.",
        "book resnet": "Book, section 8.6.2: conv3 of Residual has no normalisation.",
    },
    "resnet stem": {
        "resnet": "He et al., Table 1: a 7×7 convolution of stride 2.",
        "book resnet": "Book, section 8.6.3: a 7×7 convolution, then batch normalisation.",
    },
    "weights": {
        "paper": "No source computes its weights: a convolution uses its parameters as they are.",
    },
    "affine": {
        "paper": "Ioffe and Szegedy (arXiv:1502.03167): a normalisation learns a scale and a shift "
        "and keeps running statistics for evaluation.",
    },
    "norm": {
        "paper": "The paper prints neither; the authors' code and torchvision leave the default, "
        "eps = 1e-05 and momentum = 0.1.",
    },
}


def line(topic: str, authority: Authority) -> str:
    """What the paper, or another authority, says on a topic; nothing on the topic `""`."""
    if not topic:
        return ""
    return LINES[topic].get(authority, LINES[topic].get("paper", ""))
