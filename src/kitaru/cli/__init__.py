"""The command line: thin over ``KitaruClient``, one file per group of commands."""
