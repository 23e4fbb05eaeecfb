"""The hotword lists of submissions: found in the account or created, before the POST."""
