"""What can be done with executions, one verb per file, the same for every surface."""
