"""The generated world: pictures, captions, questions and phrases made from a seed, in the official file formats."""
