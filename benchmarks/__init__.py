"""What measures fsprobe and what it is measured against. Nothing here is part of the installed package."""
