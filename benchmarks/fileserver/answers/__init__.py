"""What the server answers: names and files of the source tree, and changes of it."""
