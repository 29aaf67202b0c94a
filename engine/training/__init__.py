"""From a config to a training: runner, loops, resume, schedules, optimiser wrappers."""
