"""Decoders: each reads one joint state and gives the logits of one kind of task."""
