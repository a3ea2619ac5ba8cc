"""The two domains of a config, before they are split."""
