"""The tasks: data, training, evaluation, plots and the command line."""
