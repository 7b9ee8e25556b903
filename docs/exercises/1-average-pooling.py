# %% [markdown]
# # Exercise 1: Why average pooling?
#
# ## The question
#
# Why does a DenseNet use average pooling rather than maximum pooling in its transition layers?
# It is one of the [exercises of section 8.7](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises).
#
# !!! note "Being written"
#     The answer to this question is being written. The other pages of this site are complete
#     by themselves.
