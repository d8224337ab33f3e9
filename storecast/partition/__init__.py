"""A panel too large for one machine, as partitions: data sets of their own, each of some thousand series.

A partition has the series of some groups (the values of one column, such as all series of some stores), its
own raw files and its own data set config. Every stage takes it like any other data set, so what a stage holds
in memory is a partition and not the panel.

  words.py    the values of a raw column as they come, row by row
  groups.py   which groups there are, and how many series and rows each has
  assign.py   which partition each group belongs to; one that has its place keeps it
  files.py    the raw files, cut
  spill.py    rows in any order sorted into files, in memory that does not grow
  pooled.py   the scores of partitions as those of one panel
  picture.py  their errors as a picture
  joined.py   the bundles of partitions as one, of which memory holds the few that are asked

The raw files are read some rows at a time, and rows are passed on as they are written: what is wrong with one
is found, and told, where its partition is ingested.
"""
