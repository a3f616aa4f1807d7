"""Words: tokens, vocabularies of training text, word vectors, and the phrases of a sentence."""
