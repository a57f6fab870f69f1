"""What a user's next words say of an answer: the classes UR1 to UR5 of Don-Yehiya et al., arXiv 2407.10944."""
