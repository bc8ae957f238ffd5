"""Looking at executions and steering them, from Python."""
