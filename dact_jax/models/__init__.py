"""Images in, embeddings and head outputs out: encoders, heads, batch norm by domain.

A domain is a row number here. It must not know losses, datasets or optimizers.
"""
