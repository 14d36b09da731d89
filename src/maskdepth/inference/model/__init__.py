"""A model on disk: its folder and card, where it lies, its page, and what runs it."""
