"""Where executions run. ``local``: threads of the process that started them."""
