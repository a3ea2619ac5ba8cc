"""Files with weights: what torch.save wrote, and names in a file of several networks.

Takes a path; gives tensors by name. It runs no code of a file.
"""
