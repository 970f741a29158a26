"""Questions that take many searches or trainings."""
