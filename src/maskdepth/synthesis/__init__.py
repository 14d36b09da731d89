"""Synthesis: assets in, recipes drawn, composites rendered. No torch."""
