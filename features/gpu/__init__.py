"""The GPU backend: the same windows, with rows kept on a device in sorted runs."""
