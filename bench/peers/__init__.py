"""The peers: each does the same job as well as it can, and must give the same values."""
