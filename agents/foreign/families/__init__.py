"""The tasks of the foreign suite, one family a file, written as a user of torch writes them."""
