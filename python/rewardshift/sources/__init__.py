"""Where files come from: a path, the hub, the package index; and where they are kept."""
