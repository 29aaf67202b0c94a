"""mmengine hooks: checkpoints, moving average, NaN guard, signals, seeds."""
