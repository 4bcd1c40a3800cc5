"""The tests, by this name even where an installed package calls its own tests so."""
