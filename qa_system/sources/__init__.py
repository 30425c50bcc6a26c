"""Review files as rows: recognised, decoded, read as streams, of one type a column."""
