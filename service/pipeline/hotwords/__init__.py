"""The hotword lists that submissions name: found in the account or made, before the POST."""
