"""Commands in: the wire format. What it does not do: carry them out."""
