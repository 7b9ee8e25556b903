# %% [markdown]
# # DenseNet, answered
#
# Being written.
