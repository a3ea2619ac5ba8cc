"""Image files as vectors of a frozen network, computed once and kept.

Takes image files and a `Backbone`; gives float32[N, F]. It must not know of domains,
runs or labels.
"""
