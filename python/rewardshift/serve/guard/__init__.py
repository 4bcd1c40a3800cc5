"""What stands between the network and the handlers: pure ASGI, one concern a file."""
