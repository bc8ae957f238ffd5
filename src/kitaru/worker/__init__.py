"""Workers: processes that run the executions of a stack."""
