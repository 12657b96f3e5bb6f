"""Register-transfer descriptions, one file for each kind of unit."""
