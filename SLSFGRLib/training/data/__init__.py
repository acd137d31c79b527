"""Images, labels and pairs to train on."""
