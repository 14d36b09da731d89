"""Learning: networks, losses, the training loop, export. The only room that needs torch."""
