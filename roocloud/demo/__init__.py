"""A made organization with a month behind it, so that every page can be seen alive: ``manage.py
demo``. It is made by the functions that the pages and clients call, as if it had happened."""
