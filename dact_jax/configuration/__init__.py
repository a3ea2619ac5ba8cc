"""ConfigDict -> `Run`: config files, fields, presets, checks, and what they build.

The only folder that reads a config. It must not train, select or write anything.
"""
