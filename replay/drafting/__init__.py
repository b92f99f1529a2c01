"""Drafting a pack from a sample of events: what its columns mean, first features, first rules."""
