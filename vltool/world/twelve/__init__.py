"""The generated world in the formats of the further datasets of 12-in-1: one file a dataset, `files.py` writes them."""
