"""The program that runs one task on a node: standard library alone, Python 3.6 or newer."""
