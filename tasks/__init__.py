"""The tasks: data, objectives, training, simulation, plots and the command line."""
