"""The configuration file: `file` reads it, the others say what may stand in each section."""
