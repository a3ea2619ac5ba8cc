"""Vectors in files: .npz, .parquet, and .npy with text files beside it."""
