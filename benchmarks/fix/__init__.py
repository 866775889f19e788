"""`fsprobe fix`: from a plain recording to an image in use, and what is left when it is interrupted."""
