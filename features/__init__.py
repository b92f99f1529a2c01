"""Features: the SQL plan, the window engine and its state, the programs, and the backends that run them."""
