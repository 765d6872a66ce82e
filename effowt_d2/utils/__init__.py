"""Files and boxes. Imports nothing of this package."""
