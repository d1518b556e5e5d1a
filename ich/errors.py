"""The one exception that a user is meant to read."""


class InputError(ValueError):
    """Bad input: the message names the file and says what to do about it.

    A job that ends with this error prints the message alone; any other exception prints its traceback.
    """
