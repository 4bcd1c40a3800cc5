"""Clients that nobody here wrote, against the running server: ``make clients``."""
