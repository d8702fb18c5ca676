"""Commands in: their wire format, and who brings them. What it does not do: carry them out."""
