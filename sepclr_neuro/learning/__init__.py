"""From a method and its training people to a trained model and its representations."""
