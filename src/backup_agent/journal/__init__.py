"""What the agent has promised to do and has to tell: kept on disk, whatever happens to the process."""
