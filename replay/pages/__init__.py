"""Pages to look at: a back-test's report and one decision explained, each a single HTML file without scripts."""
