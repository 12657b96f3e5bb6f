"""Native integer kernels, and the NumPy reference that they must equal."""
