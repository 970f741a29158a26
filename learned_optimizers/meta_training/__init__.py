"""The training of theta: unrolled inner trainings, estimates of the outer gradient, and teachers to imitate first."""
