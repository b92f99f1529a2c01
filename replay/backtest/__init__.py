"""Back-tests: two whole strategies over one log, side by side, judged by what became known later."""
