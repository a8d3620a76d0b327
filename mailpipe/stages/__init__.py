"""What happens to a mail on its way: look at it, decide about it, change it. One file a stage; none imports another."""
