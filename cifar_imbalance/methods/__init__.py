"""What a study varies: losses, samplers, schedules, optimisers."""
