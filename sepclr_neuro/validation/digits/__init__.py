"""Digits on objects, the paper's benchmark in two dimensions: images, views, one run of a method, and the table."""
