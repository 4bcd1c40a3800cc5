"""Breaks the core in small ways and checks that the tests notice: ``python -m tests.mutants``."""
