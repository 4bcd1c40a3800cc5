"""What is read and written: whole files only, JSON, and the files that users bring."""
