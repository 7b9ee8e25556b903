"""Executable answers to the DenseNet exercises of *Dive into Deep Learning* (section 8.7).

=========  =============================================================  ==========================
exercise   question                                                       where the code lives
=========  =============================================================  ==========================
1          why average pooling in the transition                          `exercises.pooling`
2          why DenseNet has fewer parameters than ResNet                  `exercises.parameters`
3.1        is memory consumption really high                              `measure.memory`
3.2        other ways to reduce memory                                    `memory`
4          every network of Table 1                                       `models.densenet`
5          an MLP built on the DenseNet idea, on house prices             `models.mlp`, `houses`
=========  =============================================================  ==========================

Importing the package itself imports nothing heavy.
"""

__version__ = "1.0.0"
