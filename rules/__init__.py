"""Rules: conditions in SQL, lists, outcomes, and the grouping of alerts."""
