"""Match uncertain submissions with the provider tasks that their POSTs created."""
