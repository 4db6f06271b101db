"""What the pages take from the code and from the result files."""
