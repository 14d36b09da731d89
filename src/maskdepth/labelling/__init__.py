"""Labelling: the depth of backgrounds and plates, from networks, sensors or exact geometry."""
