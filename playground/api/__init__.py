"""`/api/v1`: our own protocol. Hides parsing, credentials, pages of lists and the shape of errors; decides nothing."""
