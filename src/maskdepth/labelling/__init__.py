"""Labelling: which disparity belongs to a background, and composites written to disk."""
