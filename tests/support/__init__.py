"""Test support: tiny random models and oracles that share no code with the engine."""
