"""The classes of a domain: by its folders, by choice, and beside the other domain's."""
