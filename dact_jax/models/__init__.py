"""Networks: encoders, heads, batch norm with one row per domain, pretrained weights.

A domain is a row number here. This package must not import losses, datasets or
optimizers.
"""
