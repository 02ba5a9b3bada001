"""Images as uint8 arrays with labels, names and identity, and who of them trains, validates and tests."""
