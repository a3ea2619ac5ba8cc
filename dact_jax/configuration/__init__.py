"""A ConfigDict in, a `Run` out: fields, presets, checks, and what is built from them.

The only reader of a config. It must not train, select or write anything.
"""
