"""The contents of ``config.yaml``."""
