"""The leader's part: closed windows go to the spool, and a process of its own archives them."""
