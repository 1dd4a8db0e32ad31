"""The actors of the streaming role: one manager, one recorder a camera, one indexer."""
