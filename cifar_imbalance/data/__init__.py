"""Images as uint8 arrays with labels, class names and identity; training, validation and test sets."""
