"""Who may train on what: the canonical identity of pictures, the split protocols, and the proof that they were kept."""
