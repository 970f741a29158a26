"""Settings of analytic continuation."""
