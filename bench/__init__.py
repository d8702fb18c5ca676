"""`make bench`: full, incremental and restore against the tools people use today, on one private server and store."""
