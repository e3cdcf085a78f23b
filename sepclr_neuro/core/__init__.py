"""The basis of all others: errors, files, devices, processes, statistics."""
