"""What decodes: requests under way, and who is decoded with whom."""
