"""One way to read files, whatever is in them, and one way to write them."""
