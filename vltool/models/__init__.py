"""The shared encoder, the task decoders, and the joint model that puts one on a level of the other."""
