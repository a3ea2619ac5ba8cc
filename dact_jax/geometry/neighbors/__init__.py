"""The nearest neighbors of each row of a pool, and the nearest of few centers.

It takes points as arrays, [N, F], and gives row numbers with distances, exact as in
float64, in blocks: nothing is N x N. It must not know what points stand for, which rows
are labelled, or why neighbors are wanted.
"""
