"""For tests, ours and yours: a seeded bank world, list sources, and the executable specification."""
