# %% [markdown]
# # Exercise 3.1: How much memory?
#
# ## The question
#
# DenseNet is criticised for its memory consumption. Is it really high?
# It is one of the [exercises of section 8.7](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises).
#
# !!! note "Being written"
#     The answer to this question is being written. The other pages of this site are complete
#     by themselves.
