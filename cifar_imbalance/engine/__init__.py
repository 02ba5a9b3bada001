"""From a checked configuration to a run folder: the step, the loop, checkpoints, the final evaluation."""
