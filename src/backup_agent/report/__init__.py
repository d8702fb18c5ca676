"""Events out: to whoever follows a backup."""
