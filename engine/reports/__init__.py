"""HTML pages, plots and pictures about data, trainings and evaluations."""
