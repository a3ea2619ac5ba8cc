"""Pretrained networks that are not trained further, each for images alone.

Takes the weights of a file; gives a network and how it sees pixels. It must not know of
domains, heads or files of images.
"""
