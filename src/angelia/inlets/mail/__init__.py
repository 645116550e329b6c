"""Mail that comes back: brought by the mail server of the site (`lmtp`) or read from a mailbox (`imap`)."""
