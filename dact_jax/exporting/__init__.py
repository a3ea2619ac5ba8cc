"""A trained classifier in forms that other programs load, such as PyTorch and ONNX.

Takes a `Classifier` and real images; gives a folder with the model, model.json and a
program that loads it, after the model was compared with ours. It must not know of
commands.
"""
