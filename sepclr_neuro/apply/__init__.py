"""A trained model as a folder with a card, and what it says of new participants."""
