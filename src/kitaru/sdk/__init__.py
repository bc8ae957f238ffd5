"""What user code calls."""
