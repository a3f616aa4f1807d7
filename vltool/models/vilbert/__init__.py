"""ViLBERT as 12-in-1 trains it: a stream of words, a stream of regions, and connections between them."""
