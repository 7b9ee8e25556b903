# %% [markdown]
# # Exercise 5: A dense MLP for house prices
#
# ## The question
#
# Build an MLP on the DenseNet idea and use it to predict house prices.
# It is one of the [exercises of section 8.7](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises).
#
# !!! note "Being written"
#     The answer to this question is being written. The other pages of this site are complete
#     by themselves.
