"""Where a step runs. The only package that knows devices."""
