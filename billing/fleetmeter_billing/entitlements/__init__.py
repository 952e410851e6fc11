"""What plans allow (models, cloud fallbacks, features, seats, devices), and what happened that they did not allow."""
