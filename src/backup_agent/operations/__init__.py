"""What can be asked of the agent: each entry function reads as its own table of contents."""
