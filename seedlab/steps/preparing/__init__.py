"""From files to loads: rows of tables in which every column has its meaning."""
