"""What may go wrong with a run, tried on purpose: does the command keep its way, and is what is lost said?"""
