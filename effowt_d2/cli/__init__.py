"""Command lines of the package, on top of every other package."""
