"""What belongs together: near-duplicates, forks and long shared passages, so that no group is in two splits.

`arrange` is the door: rows' words (`corpus`) to pairs (`near`, `grams`) to groups and splits (`split`), and what of
them leaks (`leak`) or is too many (`crowd`).
"""
