"""What rooms above are told."""

from django.dispatch import Signal

#: Every sign-in of a person is ended: ``user_id``, ``by`` (an Actor; None for the server), ``at``.
#: Sent inside the transaction that ends them, so that what receivers end stands or falls with it.
everything_ended = Signal()
