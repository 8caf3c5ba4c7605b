"""What ``import allocsim`` offers; the commands are this, with arguments read and answers printed.

allocsim/__init__.py says which name is in which module here.
"""
