"""Replay: the log as a source, and what analysts ask of it."""
