# %% [markdown]
# # Exercise 3.2: Saving memory
#
# ## The question
#
# How else can the memory be reduced, and how would the framework have to change?
# It is one of the [exercises of section 8.7](https://d2l.ai/chapter_convolutional-modern/densenet.html#exercises).
#
# !!! note "Being written"
#     The answer to this question is being written. The other pages of this site are complete
#     by themselves.
