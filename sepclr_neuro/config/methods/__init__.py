"""The settings of methods, in files that are called as those of the methods."""
