"""What each program does with a valid configuration: it calls the pipeline and prints what was found."""
