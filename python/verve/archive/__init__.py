"""The archive: the ids of each closed window as sorted Parquet files, and exact counts of any span.

It is off unless `VERVE_ARCHIVE` names a folder or a bucket. Its folders are its stages: `format`
says what the files contain, `store` where they lie, `query` how they are counted. numpy, pyarrow
and obstore come with the extra `archive`, and nothing imports them before the archive is used.
"""
