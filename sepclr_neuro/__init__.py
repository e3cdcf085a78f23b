"""Contrastive analysis of brain volumes: what patients share with controls, and what is theirs alone."""

__version__ = "0.1.0"
