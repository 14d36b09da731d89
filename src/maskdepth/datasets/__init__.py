"""Datasets: their specs, their samples as files, and what they hold."""
