"""The daemon: its threads, its signals, and what it owes systemd. What a backup is, it leaves to the operations."""
