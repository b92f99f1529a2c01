"""The spine: packs, step(), the wire formats, and the `sekisho` command."""
