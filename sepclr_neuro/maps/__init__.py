"""Where in the brain a representation comes from."""
