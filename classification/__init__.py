"""PP-LCNet's image classifier, its data, losses and metric."""
