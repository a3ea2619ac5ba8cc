"""Greedy maximization of coverage: points and weights in, row numbers out.

Each pick adds the most to sum_i w_i max_l k(x_i, x_l), the weighted similarity of every
point to the nearest row that is labelled or picked. Knows points, devices and memory.
Knows nothing of networks, classes, rounds or where weights come from.
"""
