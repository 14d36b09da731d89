"""Inference: a model folder in, alpha and disparity of a user's picture out. No torch."""
