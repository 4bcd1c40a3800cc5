"""llama.cpp's own tests of its server, against ours: ``python -m clients.llama_server``."""
