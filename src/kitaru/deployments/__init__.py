"""Snapshots of source trees, and the environments that they run in."""
