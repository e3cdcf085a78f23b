"""Independent transcriptions of equations: float64 NumPy, written from the papers, plain loops, no code in common."""
