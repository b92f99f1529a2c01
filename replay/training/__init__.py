"""`sekisho train`: a table of features and labels from a log, and a model judged as it would have been used."""
