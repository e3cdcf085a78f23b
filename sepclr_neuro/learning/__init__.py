"""Trains a method on the training participants of a fold; computes the representations of all participants."""
