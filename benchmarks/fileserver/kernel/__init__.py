"""The kernel side: /dev/fuse is mounted, its messages are taken apart and put together."""
