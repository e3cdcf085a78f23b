"""Digits on objects, the paper's benchmark on 2D images: images, views, one run of a method, and the table."""
