"""Networks in plain PyTorch: their text becomes network.py of an exported model.

Nothing here is imported by dact_jax: torch may be missing. The names of submodules
are those of the tensors that `exporting.tensors` writes.
"""
