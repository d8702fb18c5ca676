"""The database host: facts and grants by SQL and from the data directory, and the instance lock."""
